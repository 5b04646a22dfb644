"""Beam search against every possible translation, on models so small that all can be listed."""

import itertools

import pytest
import torch

from recollect import Seq2SeqMemory, VectorStorage
from recollect_nlp.data.subwords import BEGIN, END, PAD
from recollect_nlp.models.beam_search import beam_search
from recollect_nlp.models.recurrent_translator import RecurrentTranslator
from recollect_nlp.models.transformer_translator import TransformerTranslator
from recollect_nlp.tasks.translation import after_begin

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
    with torch.no_grad():  # far from uniform, so that the order of translations is clear
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
    return made


def search(model, source=SOURCE, **settings):
    return beam_search(model, source, max_ratio=0, max_extra=LIMIT, **settings)


def log_probability(model, source, pieces):
    given = torch.tensor([[BEGIN, *pieces[:-1]]])
    scores = model(source.unsqueeze(0), given)[0].log_softmax(-1)
    return sum(float(scores[t, piece]) for t, piece in enumerate(pieces))


def best_of_all(model, source, penalty):
    words = [piece for piece in range(VOCABULARY) if piece not in (PAD, BEGIN, END)]
    whole = [[*middle, END] for n in range(LIMIT) for middle in itertools.product(words, repeat=n)]
    told = torch.tensor([pieces + [PAD] * (LIMIT - len(pieces)) for pieces in whole])
    with torch.no_grad():
        scores = model(source.expand(len(whole), -1), after_begin(told)).log_softmax(-1)
    sums = scores.gather(-1, told.unsqueeze(-1)).squeeze(-1).masked_fill(told == PAD, 0).sum(-1)
    normalised = sums / (told != PAD).sum(-1) ** penalty
    best = int(normalised.argmax())
    return whole[best], sums[best].item(), normalised[best].item()


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
def test_a_wide_beam_finds_the_best_of_all(model, penalty):
    found = search(model, beam=60, length_penalty=penalty)
    for i, source in enumerate(SOURCE):
        pieces, total, score = best_of_all(model, source[source != PAD], penalty)
        assert [p for p in found.pieces[i].tolist() if p != PAD] == pieces
        assert found.log_probability[i].item() == pytest.approx(total, abs=1e-4)
        assert found.score[i].item() == pytest.approx(score, abs=1e-4)


def test_a_beam_of_one_is_greedy(model):
    found = search(model, beam=1)
    for i, source in enumerate(SOURCE):
        told = [BEGIN]
        while len(told) <= LIMIT and told[-1] != END:
            with torch.no_grad():
                scores = model(source[source != PAD].unsqueeze(0), torch.tensor([told]))[0, -1]
            scores[[PAD, BEGIN]] = -torch.inf
            told.append(int(scores.argmax()))
        assert [p for p in found.pieces[i].tolist() if p != PAD] == told[1:]


@pytest.mark.parametrize("beam", [1, 2, 3])
def test_what_is_told_of_a_translation_is_its_own(model, beam):
    found = search(model, beam=beam, length_penalty=0.7)
    for i, source in enumerate(SOURCE):
        pieces = [p for p in found.pieces[i].tolist() if p != PAD]
        with torch.no_grad():
            total = log_probability(model, source[source != PAD], pieces)
        assert found.log_probability[i].item() == pytest.approx(total, abs=1e-4)
        length = len(pieces) if pieces[-1] == END else LIMIT
        assert found.score[i].item() == pytest.approx(total / length**0.7, abs=1e-4)


def test_sentences_do_not_disturb_each_other(model):
    together = search(model, beam=2)
    for i in range(3):
        alone = search(model, SOURCE[i : i + 1], beam=2)
        width = alone.pieces.shape[1]
        assert torch.equal(together.pieces[i, :width], alone.pieces[0])
        torch.testing.assert_close(together.score[i], alone.score[0])


def test_no_end_within_the_limit_gives_the_best_beginning(model):
    with torch.no_grad():
        never = torch.zeros(VOCABULARY)
        never[END] = -1e4
    told = model.logits
    model.logits = lambda decoded: told(decoded) + never
    found = search(model, beam=2)
    assert found.pieces.shape == (3, LIMIT)
    assert END not in found.pieces
    assert found.score.isfinite().all()


def test_a_sentence_that_ends_leaves_the_batch(model):
    sizes = []
    decode = model.decode

    def counting(state, target):
        sizes.append(len(target))
        return decode(state, target)

    model.decode = counting
    end = torch.zeros(VOCABULARY)
    end[END] = 1e4
    told = model.logits
    model.logits = lambda decoded: told(decoded) + end
    found = search(model, beam=2)
    assert found.pieces.tolist() == [[END]] * 3
    assert sizes == [6]


def test_wrong_settings_are_named(model):
    with pytest.raises(ValueError, match="beam must be"):
        beam_search(model, SOURCE, beam=0)
    with pytest.raises(ValueError, match="length_penalty"):
        beam_search(model, SOURCE, length_penalty=-1.0)


def test_a_long_sentence_is_decoded_to_a_bound(model):
    with torch.no_grad():
        never = torch.zeros(VOCABULARY)
        never[END] = -1e4
    told = model.logits
    model.logits = lambda decoded: told(decoded) + never
    source = torch.full((1, 4), 4)
    assert beam_search(model, source, beam=1).pieces.shape == (1, 16)  # 1.6 · 4 + 10
    assert beam_search(model, source, beam=1, max_pieces=7).pieces.shape == (1, 7)
