"""Padding never changes a transcript, and streaming gives the output of the whole recording."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recollect import Concatenation, Fusion, HashStorage, Integration, Parallel, VectorStorage
from recollect_speech.models.alignment import Word
from recollect_speech.models.augmentation import SpecAugment
from recollect_speech.models.encoder import Encoder
from recollect_speech.models.recognition import PADDING, Recognizer
from recollect_speech.models.summary_memory import SummaryMemory

SIZE = 16
JOINED = [None, Parallel, Concatenation, Fusion]


def summaries(segment: int | None = 4) -> SummaryMemory:
    return SummaryMemory(SIZE, VectorStorage(SIZE, SIZE, slots=6, similarity="dot"), segment)


def recognizer(joined: type[Integration] | None = None, chunk: int | None = 4, **more: Any) -> Recognizer:
    torch.manual_seed(0)
    encoder = Encoder(
        SIZE,
        layers=3,
        heads=2,
        hidden=24,
        kernel=5,
        chunk=chunk,
        left=6,
    )
    if joined is not None:
        encoder.add_memory(summaries(), joined)
    model = Recognizer(5, 8000, encoder, bins=20, channels=4, **more).eval()
    for name, parameter in model.named_parameters():  # integrations are silent at initialisation
        inside = {"attention", "convolution", "memory"} & set(name.split("."))
        if not inside and ("gate" in name or "out_proj" in name):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def recordings() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, generator=generator) for length in (9000, 5432, 150, 12345, 0)]


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("joined", JOINED)
def test_padding_in_a_batch_changes_nothing(joined: type[Integration] | None, chunk: int | None) -> None:
    if joined is Fusion and chunk is None:
        pytest.skip("Fusion needs chunks")
    model, alone = recognizer(joined, chunk), recordings()
    lengths = torch.tensor([len(samples) for samples in alone])
    padded = pad_sequence(alone, batch_first=True)
    padded[torch.arange(padded.shape[1]) >= lengths.unsqueeze(1)] = 7.0  # padding need not be silence
    together = model(padded, lengths)
    for i, samples in enumerate(alone):
        one = model(samples.unsqueeze(0), lengths[i : i + 1])
        assert one.lengths[0] == together.lengths[i] > 0
        found = together.log_probs[i, : one.lengths[0]]
        torch.testing.assert_close(found, one.log_probs[0, : one.lengths[0]], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("joined", JOINED)
@pytest.mark.parametrize("piece", [37, 800, 5000, 20000])
def test_streaming_gives_the_output_of_the_whole_recording(
    joined: type[Integration] | None, piece: int
) -> None:
    model = recognizer(joined)
    samples = torch.stack([recordings()[3], recordings()[3].flip(0)])
    whole = model(samples, torch.tensor([samples.shape[1]] * 2))
    state, outputs = model.initial_state(2), []
    for part in samples.split(piece, 1):
        log_probs, state = model.step(part, state)
        assert log_probs.shape[1] % 4 == 0
        outputs.append(log_probs)
    outputs.append(model.finish(state)[0])
    torch.testing.assert_close(torch.cat(outputs, 1), whole.log_probs, atol=2e-5, rtol=1e-4)


def test_a_stream_of_nothing() -> None:
    model = recognizer()
    log_probs, _ = model.finish(model.initial_state())
    assert log_probs.shape == (1, (2 * PADDING - 7) // 4 + 1, 5)
    state = model.initial_state()
    assert model.step(torch.zeros(1, 0), state)[0].shape == (1, 0, 5)


def test_a_step_reaches_its_chunk_and_the_steps_before_it_but_the_memory_reaches_further() -> None:
    samples = torch.randn(1, 16000)
    changed = samples.clone()
    changed[:, :1200] = torch.randn(1, 1200)
    for joined, reached in ((None, False), (Parallel, True)):
        model = recognizer(joined)
        # The running mean of the features reaches everywhere: of the same steps, only the encoder is asked.
        x = torch.randn(1, 60, SIZE)
        other = x.clone()
        other[:, :4] = torch.randn(1, 4, SIZE)
        mask = torch.ones(1, 60, dtype=torch.bool)
        apart = (model.encoder(x, mask)[0] - model.encoder(other, mask)[0]).abs().amax(-1)[0]
        assert bool((apart[50:] > 0).any()) is reached
        ahead = x.clone()
        ahead[:, 32:] = 0
        torch.testing.assert_close(model.encoder(x, mask)[0][:, :32], model.encoder(ahead, mask)[0][:, :32])


def test_a_memory_is_silent_at_initialisation_and_learns_from_the_second_step_on() -> None:
    torch.manual_seed(0)
    encoder = Encoder(SIZE, 2, 2, 24, 5, chunk=4, left=4, dropout=0.0)
    encoder.add_memory(summaries())
    x, mask = torch.randn(2, 20, SIZE), torch.ones(2, 20, dtype=torch.bool)
    joined = encoder.layers[1]
    before = encoder(x, mask)[0]
    with torch.no_grad():
        joined.memory.out_proj.weight.mul_(3)
    torch.testing.assert_close(encoder(x, mask)[0], before)
    encoder(x, mask)[0].square().sum().backward()
    assert joined.gate.linear.weight.grad.abs().max() > 0
    torch.nn.init.normal_(joined.gate.linear.weight)
    encoder(x, mask)[0].square().mean().backward()
    assert all(
        part.grad is not None and part.grad.abs().max() > 0 for part in joined.memory.pooling.parameters()
    )


def test_any_storage_will_do() -> None:
    storage = HashStorage(SIZE, SIZE, buckets=4, capacity=4)
    encoder = Encoder(SIZE, 2, 2, 24, 5, chunk=4)
    encoder.add_memory(SummaryMemory(SIZE, storage, 4))
    y, _ = encoder(torch.randn(2, 13, SIZE), torch.ones(2, 13, dtype=torch.bool))
    assert y.shape == (2, 13, SIZE)


def test_features_are_masked_in_training_only() -> None:
    model = recognizer(spec_augment=SpecAugment(1, 40, 1, 10, 0.9), dropout=0.0)
    samples, lengths = torch.randn(1, 9000), torch.tensor([9000])
    assert torch.equal(model(samples, lengths).log_probs, model(samples, lengths).log_probs)
    model.train()
    model.encoder.eval()
    assert not torch.equal(model(samples, lengths).log_probs, model(samples, lengths).log_probs)


def test_words_are_timed_within_the_recording() -> None:
    model = recognizer()
    assert model.timed(Word("one", 3, 6, 0.9), 1.0) == pytest.approx(("one", 0.04, 0.16, 0.9))
    assert model.timed(Word("two", 1, 40, 0.5), 1.0) == ("two", 0.0, 1.0, 0.5)


# --- speakers -----------------------------------------------------------------------------------------------


def with_speakers() -> Recognizer:
    return recognizer(speaker_memory=summaries(None))


def test_speaker_states_do_not_depend_on_the_batches() -> None:
    model = with_speakers()
    alone, names = recordings(), ["ann", "bob", "ann", "ann", None]
    lengths = torch.tensor([len(samples) for samples in alone])
    together = model(pad_sequence(alone, batch_first=True), lengths, names)
    states: dict[str, Any] = {}
    for i, samples in enumerate(alone):
        one = model(samples.unsqueeze(0), lengths[i : i + 1], names[i : i + 1], states)
        states = one.speaker_states
        found = together.log_probs[i, : one.lengths[0]]
        torch.testing.assert_close(found, one.log_probs[0, : one.lengths[0]], atol=2e-5, rtol=1e-4)
    assert states.keys() == together.speaker_states.keys() == {"ann", "bob"}
    assert int(states["ann"].presence.sum()) == 3


def test_a_speaker_state_changes_the_output_of_this_speaker_only() -> None:
    model = with_speakers()
    first, second = recordings()[0].unsqueeze(0), recordings()[3].unsqueeze(0)
    states = model(first, torch.tensor([9000]), ["ann"]).speaker_states
    length = torch.tensor([12345])
    fresh = model(second, length, ["ann"]).log_probs
    again = model(second, length, ["ann"], states).log_probs
    other = model(second, length, ["bob"], states).log_probs
    unknown = model(second, length, [None], states).log_probs
    assert not torch.allclose(fresh, again)
    torch.testing.assert_close(fresh, other)
    torch.testing.assert_close(fresh, unknown)


def test_speaker_states_are_detached_and_not_modified() -> None:
    model = with_speakers()
    samples, lengths = recordings()[0].unsqueeze(0), torch.tensor([9000])
    states = model(samples, lengths, ["ann"]).speaker_states
    copy = states["ann"].values.clone()
    model(samples, lengths, ["ann"], states)
    assert torch.equal(states["ann"].values, copy)
    assert not states["ann"].values.requires_grad


# --- errors -------------------------------------------------------------------------------------------------


def test_models_that_do_not_support_streaming() -> None:
    with pytest.raises(ValueError, match="attends to the whole recording"):
        recognizer(chunk=None).initial_state()
    with pytest.raises(ValueError, match="whole recordings"):
        with_speakers().initial_state()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 15}, "multiple of heads"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"left": -1}, "left must not be negative"),
    ],
)
def test_invalid_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoder(**{"size": SIZE, "layers": 2, "heads": 2, "hidden": 8, **given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"at": 2}, r"at must be in \[0, 2\)"),
        ({"memory": SummaryMemory(8, VectorStorage(8, 8, slots=2))}, "model_size must be 16"),
        ({"integration": Fusion}, "it needs chunk"),
    ],
)
def test_a_memory_must_fit_the_encoder(given: dict[str, Any], message: str) -> None:
    encoder = Encoder(SIZE, layers=2, heads=2, hidden=8)
    with pytest.raises(ValueError, match=message):
        encoder.add_memory(**{"memory": summaries(), **given})
