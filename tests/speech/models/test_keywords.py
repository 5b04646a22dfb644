"""One decision for a recording, whatever it is padded with; a speaker's own words decide with it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recollect import ExampleMemory, VectorStorage
from recollect.memories.example import MIN_LOG_PROBABILITY
from recollect_speech.models.alignment import Word
from recollect_speech.models.augmentation import SpecAugment
from recollect_speech.models.keyword_encoder import KeywordEncoder
from recollect_speech.models.keywords import KeywordSpotter, SpeakerTemplates

SIZE, WORDS = 16, 5


def memory(size: int = SIZE, words: int = WORDS, slots: int = 50) -> ExampleMemory:
    return ExampleMemory(VectorStorage(size, words, slots), "prototypes", "cosine", sharpness=20.0)


def recognizer(with_memory: bool = False, **more: Any) -> KeywordSpotter:
    torch.manual_seed(0)
    encoder = KeywordEncoder(bins=20, channels=4, size=SIZE, layers=2)
    model = KeywordSpotter(WORDS + 1, 8000, encoder, memory() if with_memory else None, **more)
    for _ in range(3):  # statistics of normalisation that are not those of nothing
        model(torch.randn(4, 4000), torch.full((4,), 4000))
    return model.eval()


def recordings() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, generator=generator) for length in (9000, 5432, 150, 4345, 0)]


@pytest.mark.parametrize("with_memory", [False, True])
def test_padding_in_a_batch_changes_nothing(with_memory: bool) -> None:
    model, alone = recognizer(with_memory), recordings()
    lengths = torch.tensor([len(samples) for samples in alone])
    padded = pad_sequence(alone, batch_first=True)
    padded[torch.arange(padded.shape[1]) >= lengths.unsqueeze(1)] = 7.0  # padding need not be silence
    together = model(padded, lengths)
    assert together.lengths.tolist() == [1] * 5
    for i, samples in enumerate(alone):
        single = model(samples.unsqueeze(0), lengths[i : i + 1]).log_probs
        torch.testing.assert_close(together.log_probs[i : i + 1], single, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("with_memory", [False, True])
def test_the_blank_has_probability_zero(with_memory: bool) -> None:
    found = recognizer(with_memory)(torch.randn(3, 8000), torch.tensor([8000, 500, 0])).log_probs
    assert (found[..., 0] == MIN_LOG_PROBABILITY).all()
    torch.testing.assert_close(found[..., 1:].exp().sum(-1), torch.ones(3, 1))


def test_masks_hide_in_training_only() -> None:
    model = recognizer(spec_augment=SpecAugment(1, 40, 1, 10, 0.9))
    samples, lengths = torch.randn(1, 9000), torch.tensor([9000])
    assert torch.equal(model(samples, lengths).log_probs, model(samples, lengths).log_probs)
    model.train()
    model.encoder.eval()
    assert not torch.equal(model(samples, lengths).log_probs, model(samples, lengths).log_probs)


def test_a_word_takes_the_whole_recording() -> None:
    assert recognizer().timed(Word("one", 0, 1, 0.5), 0.7) == ("one", 0.0, 0.7, 0.5)


# --- speakers -----------------------------------------------------------------------------------------------


def test_a_template_is_the_mean_of_a_row_and_of_the_words_that_were_taken_for_it() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(SIZE, WORDS)
    own = SpeakerTemplates(head, memory())
    earlier, x = torch.randn(1, 7, SIZE), torch.randn(1, 1, SIZE)
    step = torch.ones(1, 7, dtype=torch.bool)
    _, state = own(earlier, own.initial_state(1), step_mask=step)
    found, _ = own(x, state, step_mask=step[:, :1])
    label = head(earlier[0]).argmax(-1)
    rows, unit = F.normalize(head.weight, dim=-1), F.normalize(earlier[0], dim=-1)
    templates = torch.stack([torch.cat([rows[c : c + 1], unit[label == c]]).mean(0) for c in range(WORDS)])
    expected = (20 * F.cosine_similarity(x[0], templates)).log_softmax(-1)
    torch.testing.assert_close(found[0, 0], expected, atol=1e-4, rtol=1e-4)


def test_a_recording_is_read_before_it_is_written() -> None:
    own = SpeakerTemplates(torch.nn.Linear(SIZE, WORDS), memory())
    x, step = torch.randn(1, 1, SIZE), torch.ones(1, 1, dtype=torch.bool)
    found, state = own(x, own.initial_state(1), step_mask=step)
    rows = F.normalize(own.head.weight, dim=-1)
    torch.testing.assert_close(found[0, 0], (20 * F.cosine_similarity(x[0], rows)).log_softmax(-1))
    assert int(state.presence.sum()) == 1
    _, state = own(x, state, step_mask=~step)
    assert int(state.presence.sum()) == 1


def test_it_helps_with_a_speaker_whose_words_lie_elsewhere() -> None:
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(8, 4, bias=False)
    head.weight.data = torch.eye(8)[:4]
    own = SpeakerTemplates(head, memory(8, 4, slots=200))
    label = torch.randint(4, (200,), generator=generator)
    strange = torch.tensor([0.5, 0.0, 0.0, -0.3, 1.5, -1.0, 0.0, 0.0])
    x = F.one_hot(label, 8) + strange + 0.3 * torch.randn(200, 8, generator=generator)
    state, right = own.initial_state(1), 0
    for word, truth in zip(x, label, strict=True):
        found, state = own(word[None, None], state, step_mask=torch.ones(1, 1, dtype=torch.bool))
        right += int(found[0, 0].argmax() == truth)
    alone = int((head(x).argmax(-1) == label).sum())
    assert alone < 175
    assert right > alone + 10


def test_speaker_states_do_not_depend_on_the_batches_or_on_other_speakers() -> None:
    model, alone, names = recognizer(True), recordings(), ["ann", "bob", "ann", "ann", None]
    lengths = torch.tensor([len(samples) for samples in alone])
    together = model(pad_sequence(alone, batch_first=True), lengths, names)
    states: dict[str, Any] = {}
    for i, samples in enumerate(alone):
        one = model(samples.unsqueeze(0), lengths[i : i + 1], names[i : i + 1], states)
        states = one.speaker_states
        torch.testing.assert_close(together.log_probs[i], one.log_probs[0], atol=2e-5, rtol=1e-4)
    assert {name: int(state.presence.sum()) for name, state in together.speaker_states.items()} == {
        "ann": 3,
        "bob": 1,
    }
    copy = states["ann"].keys.clone()
    model(alone[0].unsqueeze(0), lengths[:1], ["ann"], states)
    assert torch.equal(states["ann"].keys, copy)
    assert not states["ann"].keys.requires_grad


def test_the_memory_is_not_used_in_training() -> None:
    model = recognizer(True).train()
    assert model(torch.randn(2, 4000), torch.tensor([4000, 4000]), ["ann", "ann"]).speaker_states == {}


@pytest.mark.parametrize("given", [{"bins": 0}, {"channels": 0}, {"size": 0}, {"layers": 0}, {"kernel": 4}])
def test_sizes_that_are_none_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        KeywordEncoder(**given)
