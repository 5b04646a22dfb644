"""Splits of the Free Spoken Digit Dataset, single and connected."""

import itertools
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_speech.data import connected_digits, fsdd
from recollect_speech.data.audio import Clip, read_audio
from recollect_speech.data.connected_digits import ConnectedDigitsData, StringMixing
from recollect_speech.data.digits import NAMES
from recollect_speech.data.fsdd import FsddData

Recorder = Callable[..., Path]
Tone = Callable[..., torch.Tensor]
SPEAKERS = ("ann", "bob", "cy")


@pytest.fixture(autouse=True)
def recordings(record: Recorder, tone: Tone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two digits, three speakers, ten numbers; the other digits have three numbers, one of each split."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    count = 0
    for speaker in SPEAKERS:
        for digit in range(10):
            for number in range(10) if digit < 2 else (0, 5, 9):
                record(f"fsdd/recordings/{digit}_{speaker}_{number}.wav", tone(0.1 + 0.01 * digit))
                count += 1
    monkeypatch.setattr(fsdd, "RECORDINGS", count)
    return tmp_path / "fsdd" / "recordings"


def numbers(data: FsddData, split: str) -> set[int]:
    return {int(item.name.split("_")[2].split(".")[0]) for item in data.utterances(split) or []}  # type: ignore[arg-type]


def test_the_official_split() -> None:
    data = FsddData()
    assert numbers(data, "test") == {0, 1, 2, 3, 4}
    assert numbers(data, "val") == {5, 6, 7}
    assert numbers(data, "train") == {8, 9}
    assert {item.speaker for item in data.utterances("test") or []} == set(SPEAKERS)
    said = {item.name[0]: item.text for item in data.utterances("train") or []}
    assert (said["0"], said["7"]) == ("zero", "seven")


def test_a_held_out_speaker() -> None:
    data = FsddData(held_out_speaker="bob")
    assert {item.speaker for item in data.utterances("test") or []} == {"bob"}
    assert numbers(data, "test") == set(range(10))
    for split in ("train", "val"):
        assert {item.speaker for item in data.utterances(split) or []} == {"ann", "cy"}  # type: ignore[arg-type]
    assert not numbers(data, "train") & numbers(data, "val")
    with pytest.raises(ArgumentError, match="the speakers are ann, bob, cy"):
        FsddData(held_out_speaker="dan").utterances("test")


def test_a_validation_speaker() -> None:
    data = FsddData(held_out_speaker="bob", val_speaker="cy")
    found = {split: data.utterances(split) or [] for split in ("train", "val", "test")}  # type: ignore[arg-type]
    assert [{item.speaker for item in items} for items in found.values()] == [{"ann"}, {"cy"}, {"bob"}]
    assert len({len(items) for items in found.values()}) == 1
    with pytest.raises(ArgumentError, match=r"val_speaker dan: the speakers are"):
        FsddData(held_out_speaker="bob", val_speaker="dan").utterances("train")
    for held_out_speaker in (None, "cy"):
        with pytest.raises(ValueError, match="needs a different held_out_speaker"):
            FsddData(held_out_speaker=held_out_speaker, val_speaker="cy")


def test_espeak_may_say_single_digits() -> None:
    data = FsddData(held_out_speaker="ann", synthetic=20, single_digits=True)
    spoken = [item.text for item in data.utterances("train") or [] if item.speaker not in SPEAKERS]
    assert sorted(spoken) == sorted([*NAMES, *NAMES])


def test_synthetic_strings_are_added_to_training_only() -> None:
    data = FsddData(held_out_speaker="ann", synthetic=7)
    spoken = [item for item in data.utterances("train") or [] if item.speaker not in SPEAKERS]
    assert len(spoken) == 7
    assert all(2 <= len(item.text.split()) <= 3 for item in spoken)
    assert {item.speaker for item in data.utterances("val") or []} == {"bob", "cy"}


def test_the_test_does_not_come_digit_by_digit() -> None:
    texts = [item.text for item in FsddData(held_out_speaker="ann").utterances("test") or []]
    assert texts != sorted(texts)
    assert texts == [item.text for item in FsddData(held_out_speaker="ann").utterances("test") or []]


def test_a_dataset_that_is_not_whole_or_has_strange_files(recordings: Path) -> None:
    (recordings / "0_ann_0.wav").unlink()
    with pytest.raises(DataError, match="has 131 recordings instead of 132"):
        FsddData().utterances("train")
    (recordings / "zero.wav").touch()
    with pytest.raises(DataError, match="not named like a recording"):
        FsddData().utterances("train")


def test_the_archive_is_unpacked_once(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "fsdd" / "fsdd-1.0.10.zip"
    with ZipFile(archive, "w") as packed:
        for path in recordings.glob("*.wav"):
            packed.write(path, f"free-spoken-digit-dataset-1.0.10/recordings/{path.name}")
    recordings.rename(tmp_path / "elsewhere")
    FsddData().prepare_data()
    assert len(FsddData().utterances("test") or []) == 3 * (5 * 2 + 8)
    recordings.rename(tmp_path / "again")
    archive.write_bytes(b"no archive")
    with pytest.raises(DataError, match="is damaged"):
        FsddData().prepare_data()


# --- connected ----------------------------------------------------------------------------------------------


def connected(**more: object) -> ConnectedDigitsData:
    return ConnectedDigitsData(train=30, val=8, test=8, **more)  # type: ignore[arg-type]


def test_splits_share_no_string_and_a_string_is_of_one_speaker() -> None:
    data = connected()
    found = {split: data.utterances(split) or [] for split in ("train", "val", "test")}
    texts = [{item.text for item in items} for items in found.values()]
    assert all(not one & other for one, other in itertools.combinations(texts, 2))
    assert all(3 <= len(item.text.split()) <= 7 for items in found.values() for item in items)
    assert {item.speaker for item in found["train"]} == set(SPEAKERS)


@pytest.mark.parametrize("held_out_speaker", [None, "cy"])
def test_splits_share_no_recording(held_out_speaker: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[Path] = []

    def listen(clip: Clip, rate: int) -> torch.Tensor:
        paths.append(clip.path)
        return read_audio(clip, rate)

    monkeypatch.setattr(connected_digits, "read_audio", listen)
    data, used = connected(held_out_speaker=held_out_speaker), {}
    for split in ("train", "val", "test"):
        paths.clear()
        data.utterances(split)  # type: ignore[arg-type]
        used[split] = set(paths)
    assert all(used.values())
    assert all(not one & other for one, other in itertools.combinations(used.values(), 2))


def test_a_held_out_speaker_of_connected_digits() -> None:
    data = connected(held_out_speaker="cy")
    assert {item.speaker for item in data.utterances("test") or []} == {"cy"}
    assert {item.speaker for item in data.utterances("train") or []} == {"ann", "bob"}


def test_strings_of_espeak_share_none_with_the_test_and_are_as_loud() -> None:
    data = connected(synthetic=9)
    train = data.utterances("train") or []
    spoken = [item for item in train if item.speaker not in SPEAKERS]
    assert len(spoken) == len(train) - 30 == 9
    assert not {item.text for item in spoken} & {item.text for item in data.utterances("test") or []}
    assert all(item.samples(8000).square().mean().sqrt() == pytest.approx(0.1, rel=0.01) for item in spoken)
    assert {item.speaker for item in data.utterances("val") or []} <= set(SPEAKERS)
    with pytest.raises(ValueError, match="synthetic must not be negative"):
        connected(synthetic=-1)


def test_gaps_and_noise_are_as_asked_for() -> None:
    quiet = StringMixing(gap=(0.1, 0.1), noise=(200.0, 200.0))
    item = (connected(mixing=quiet).utterances("test") or [])[0]
    digits = item.text.split()
    spoken = sum(
        0.1 + 0.01 * ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"].index(d)
        for d in digits
    )
    assert item.seconds() == pytest.approx(spoken + 0.1 * (len(digits) + 1), abs=0.01)
    samples = item.samples(8000)
    assert samples[:790].abs().max() < 1e-4
    noisy = (connected(mixing=quiet._replace(noise=(10.0, 10.0))).utterances("test") or [])[0].samples(8000)
    power = (noisy - samples).square().mean() / samples.square().mean()
    assert 10 * power.log10().item() == pytest.approx(-10, abs=0.5)


def test_the_seed_decides_all() -> None:
    one, same, other = (connected(seed=seed).utterances("test") or [] for seed in (0, 0, 1))
    assert all(torch.equal(a.samples(8000), b.samples(8000)) for a, b in zip(one, same, strict=True))
    assert [item.text for item in one] != [item.text for item in other]
