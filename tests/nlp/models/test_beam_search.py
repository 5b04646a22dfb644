"""Beam search against an exhaustive search with tiny models."""

import itertools

import pytest
import torch

from recollect import Seq2SeqMemory, VectorStorage
from recollect_nlp.models.beam_search import beam_search
from recollect_nlp.models.recurrent_translator import RecurrentTranslator
from recollect_nlp.models.transformer_translator import TransformerTranslator
from recollect_nlp.models.translation import shift_right
from recollect_nlp.types import BOS, EOS, PAD

VOCABULARY = 6  # padding, unknown, begin, end and two words
SOURCE = torch.tensor([[4, 5, 3], [5, 3, 0], [4, 4, 3]])
LIMIT = 4


def recurrent():
    memory = Seq2SeqMemory(8, VectorStorage(8, 8, slots=4, similarity="dot"))
    model = RecurrentTranslator(VOCABULARY, model_size=8)
    model.add_memory(memory)
    return model


def transformer():
    return TransformerTranslator(VOCABULARY, 8, 16, encoder_layers=1, decoder_layers=1, heads=2)


@pytest.fixture(params=[recurrent, transformer])
def model(request):
    torch.manual_seed(3)
    made = request.param().eval()
    with torch.no_grad():  # far from uniform, so that scores differ clearly
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
    return made


def search(model, source=SOURCE, **settings):
    return beam_search(model, source, max_ratio=0, max_extra=LIMIT, **settings)


def log_probability(model, source, pieces):
    given = torch.tensor([[BOS, *pieces[:-1]]])
    scores = model(source.unsqueeze(0), given)[0].log_softmax(-1)
    return sum(float(scores[t, piece]) for t, piece in enumerate(pieces))


def exhaustive_search(model, source, penalty):
    words = [piece for piece in range(VOCABULARY) if piece not in (PAD, BOS, EOS)]
    whole = [[*middle, EOS] for n in range(LIMIT) for middle in itertools.product(words, repeat=n)]
    target = torch.tensor([pieces + [PAD] * (LIMIT - len(pieces)) for pieces in whole])
    with torch.no_grad():
        scores = model(source.expand(len(whole), -1), shift_right(target)).log_softmax(-1)
    sums = scores.gather(-1, target.unsqueeze(-1)).squeeze(-1).masked_fill(target == PAD, 0).sum(-1)
    normalised = sums / (target != PAD).sum(-1) ** penalty
    best = int(normalised.argmax())
    return whole[best], sums[best].item(), normalised[best].item()


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
def test_a_wide_beam_finds_the_optimum(model, penalty):
    found = search(model, beam=60, length_penalty=penalty)
    for i, source in enumerate(SOURCE):
        pieces, total, score = exhaustive_search(model, source[source != PAD], penalty)
        assert [p for p in found.pieces[i].tolist() if p != PAD] == pieces
        assert found.log_probability[i].item() == pytest.approx(total, abs=1e-4)
        assert found.score[i].item() == pytest.approx(score, abs=1e-4)


def test_a_beam_of_one_is_greedy(model):
    found = search(model, beam=1)
    for i, source in enumerate(SOURCE):
        pieces = [BOS]
        while len(pieces) <= LIMIT and pieces[-1] != EOS:
            with torch.no_grad():
                scores = model(source[source != PAD].unsqueeze(0), torch.tensor([pieces]))[0, -1]
            scores[[PAD, BOS]] = -torch.inf
            pieces.append(int(scores.argmax()))
        assert [p for p in found.pieces[i].tolist() if p != PAD] == pieces[1:]


@pytest.mark.parametrize("beam", [1, 2, 3])
def test_probability_and_score_are_those_of_the_translation(model, beam):
    found = search(model, beam=beam, length_penalty=0.7)
    for i, source in enumerate(SOURCE):
        pieces = [p for p in found.pieces[i].tolist() if p != PAD]
        with torch.no_grad():
            total = log_probability(model, source[source != PAD], pieces)
        assert found.log_probability[i].item() == pytest.approx(total, abs=1e-4)
        length = len(pieces) if pieces[-1] == EOS else LIMIT
        assert found.score[i].item() == pytest.approx(total / length**0.7, abs=1e-4)


def test_sentences_of_a_batch_are_independent(model):
    together = search(model, beam=2)
    for i in range(3):
        alone = search(model, SOURCE[i : i + 1], beam=2)
        width = alone.pieces.shape[1]
        assert torch.equal(together.pieces[i, :width], alone.pieces[0])
        torch.testing.assert_close(together.score[i], alone.score[0])


def test_without_an_end_the_best_unfinished_hypothesis_is_returned(model):
    with torch.no_grad():
        never = torch.zeros(VOCABULARY)
        never[EOS] = -1e4
    logits = model.logits
    model.logits = lambda decoded: logits(decoded) + never
    found = search(model, beam=2)
    assert found.pieces.shape == (3, LIMIT)
    assert EOS not in found.pieces
    assert found.score.isfinite().all()


def test_a_finished_sentence_leaves_the_batch(model):
    sizes = []
    decode = model.decode

    def counting(state, target):
        sizes.append(len(target))
        return decode(state, target)

    model.decode = counting
    end = torch.zeros(VOCABULARY)
    end[EOS] = 1e4
    logits = model.logits
    model.logits = lambda decoded: logits(decoded) + end
    found = search(model, beam=2)
    assert found.pieces.tolist() == [[EOS]] * 3
    assert sizes == [6]


def test_wrong_settings_are_errors(model):
    with pytest.raises(ValueError, match="beam must be"):
        beam_search(model, SOURCE, beam=0)
    with pytest.raises(ValueError, match="length_penalty"):
        beam_search(model, SOURCE, length_penalty=-1.0)


def test_the_length_of_translations_is_limited(model):
    with torch.no_grad():
        never = torch.zeros(VOCABULARY)
        never[EOS] = -1e4
    logits = model.logits
    model.logits = lambda decoded: logits(decoded) + never
    source = torch.full((1, 4), 4)
    assert beam_search(model, source, beam=1).pieces.shape == (1, 16)  # 1.6 · 4 + 10
    assert beam_search(model, source, beam=1, max_pieces=7).pieces.shape == (1, 7)
