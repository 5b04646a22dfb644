"""Batches, units and n-grams of the training split, manifests, and the input of predict."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_speech.data.manifest import ManifestData
from recollect_speech.data.speech_dataset import SpeechDataset, WaveformAugmentation, collate, with_noise
from recollect_speech.data.synthetic_digits import SyntheticDigitsData
from recollect_speech.data.units import Symbols

Recorder = Callable[..., Path]
Tone = Callable[..., torch.Tensor]
WORDS = ("zero one", "two", "three four", "five", "six seven", "eight nine")


@pytest.fixture
def manifest(record: Recorder, tone: Tone, tmp_path: Path) -> Path:
    for number in range(20):
        record(f"{number}.wav", tone(0.2 + 0.05 * number))
    path = tmp_path / "list.tsv"
    path.write_text("path\ttext\n" + "".join(f"{n}.wav\t{WORDS[n % 6].title()}!\n" for n in range(20)))
    return path


def test_a_batch_is_padded_and_says_how_far(manifest: Path) -> None:
    data = ManifestData(manifest, rate=8000)
    dataset = data.dataset("train")
    assert dataset is not None
    batch = collate([dataset[0], dataset[5]])
    assert batch.samples.shape == (2, int(batch.lengths.max()))
    assert (batch.samples[0, batch.lengths[0] :] == 0).all()
    assert [
        data.units.decode(row[:n].tolist()) for row, n in zip(batch.units, batch.unit_lengths, strict=True)
    ] == batch.texts
    assert all(text == text.lower().strip("!") for text in batch.texts)


def test_held_out_splits_are_fixed_and_disjoint(manifest: Path) -> None:
    data, again = ManifestData(manifest), ManifestData(manifest)
    names = [[item.name for item in data.utterances(split) or []] for split in ("train", "val", "test")]  # type: ignore[arg-type]
    assert [len(part) for part in names] == [16, 2, 2]
    assert len({name for part in names for name in part}) == 20
    assert names[2] == [item.name for item in again.utterances("test") or []]
    given = ManifestData(manifest, test=manifest)
    assert len(given.utterances("test") or []) == 20
    assert len(given.utterances("train") or []) == 18


def test_an_extra_manifest_adds_training_recordings_but_no_ngrams(manifest: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.tsv"
    more.write_text("path\ttext\n" + "0.wav\tone zero\n" * 9)
    alone, data = (ManifestData(manifest, ngram=3, extra_manifest=path) for path in (None, more))
    lengths = [len(each.utterances("train") or []) for each in (alone, data)]
    assert lengths == [16, 25]
    for split in ("val", "test"):
        assert data.utterances(split) == alone.utterances(split)  # type: ignore[arg-type]
    assert data.fitted == alone.fitted


def test_units_and_ngram_know_the_training_texts_alone(manifest: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tsv"
    other.write_text("path\ttext\n0.wav\tunknown words\n")
    data = ManifestData(manifest, val=other, test=other, units="words", ngram=2)
    assert len(data.units) == 11
    assert data.units.encode("unknown zero") == data.units.encode("zero")
    assert data.ngram is not None
    one, zero = data.units.encode("one zero")
    assert data.ngram.log_probability((zero,), one) > data.ngram.log_probability((zero,), zero)
    assert ManifestData(manifest).ngram is None
    restored = ManifestData(None)
    restored.load_state_dict(data.state_dict())
    assert restored.units.encode("two three") == data.units.encode("two three")


def test_training_batches_hold_all_recordings_once_and_are_of_about_one_length(manifest: Path) -> None:
    data = ManifestData(manifest, rate=8000, batch_size=4)
    dataset = data.dataset("train")
    assert dataset is not None
    first, second = (data.batches("train", dataset, epoch) for epoch in (0, 1))
    assert sorted(i for batch in first for i in batch) == list(range(16))
    assert first != second
    seconds = [item.seconds() for item in data.utterances("train") or []]
    assert all(max(seconds[i] for i in b) - min(seconds[i] for i in b) < 0.5 for b in first)
    test = data.dataset("test")
    assert test is not None
    assert data.batches("test", test, 0) == [[0, 1]]


def test_distortion_is_for_training_alone(manifest: Path) -> None:
    data = ManifestData(manifest, rate=8000, speeds=(0.5,), noise=(10.0, 10.0))
    train, test = data.dataset("train"), data.dataset("test")
    assert train is not None
    assert test is not None
    plain = train.utterances[3].samples(8000)
    assert len(train[3].samples) == pytest.approx(2 * len(plain), abs=2)
    assert torch.equal(test[0].samples, test.utterances[0].samples(8000))
    assert test.augmentation is None


def test_noise_has_the_power_asked_for_and_leaves_silence() -> None:
    samples = torch.ones(20000)
    added = with_noise(samples, (20.0, 20.0)) - samples
    assert added.square().mean().item() == pytest.approx(0.01, rel=0.1)
    assert not with_noise(torch.zeros(9), (20.0, 20.0)).any()


def test_speed_keeps_the_tone_and_moves_its_pitch(tone: Tone, record: Recorder) -> None:
    from recollect_speech.data.audio import Clip
    from recollect_speech.data.utterances import Utterance

    utterance = Utterance(Clip(record("a.wav", tone(1.0, pitch=500))), "a", "a")
    dataset = SpeechDataset([utterance], Symbols("words", ["a"]), 8000, WaveformAugmentation((1.25,)))
    samples = dataset[0].samples
    assert len(samples) == pytest.approx(6400, abs=2)
    peak = torch.fft.rfft(samples).abs().argmax().item() * 8000 / len(samples)
    assert peak == pytest.approx(625, abs=3)


# --- predict ------------------------------------------------------------------------------------------------


def test_a_recording_a_folder_or_a_manifest(manifest: Path, tmp_path: Path) -> None:
    asked = {
        path: ManifestData(path).utterances("predict") for path in (manifest, tmp_path, tmp_path / "3.wav")
    }
    assert [len(found or []) for found in asked.values()] == [20, 20, 1]
    assert (asked[manifest] or [])[0].text == "zero one"
    with pytest.raises(ArgumentError, match=r"predict needs --data\.path"):
        ManifestData(None).utterances("predict")
    with pytest.raises(DataError, match="there is no such file"):
        ManifestData(tmp_path / "no.wav").utterances("predict")


def test_learning_needs_a_manifest() -> None:
    with pytest.raises(ArgumentError, match=r"--data\.path must name the training manifest"):
        ManifestData(None).utterances("train")


def test_too_few_to_hold_any_out(record: Recorder, tmp_path: Path) -> None:
    record("a.wav")
    path = tmp_path / "list.tsv"
    path.write_text("path\ttext\na.wav\tone\na.wav\ttwo\n")
    with pytest.raises(ArgumentError, match="lists too few recordings"):
        ManifestData(path).utterances("train")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 0}, "rate must be at least 1"),
        ({"ngram": -1}, "ngram must not be negative"),
        ({"speeds": ()}, "speeds must be positive"),
        ({"speeds": (1.0, -1.0)}, "speeds must be positive"),
        ({"held_out": 0.5}, "held_out must be between"),
    ],
)
def test_numbers_out_of_range(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ManifestData(**given)


def test_numbers_of_strings_out_of_range() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        SyntheticDigitsData(train=0)
    with pytest.raises(ValueError, match="got 5 and 3"):
        SyntheticDigitsData(min_digits=5, max_digits=3)
