"""Sentences are synthesized once, by voices of their split, without those that VCTK holds out."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recollect.training.errors import ArgumentError
from recollect_speech.data import tts_corpus
from recollect_speech.data.synthetic_sentences import SyntheticSentencesData
from recollect_speech.data.tts_corpus import Line, assign_voices, synthesize_corpus, voices
from recollect_speech.data.units import normalize_text
from recollect_speech.data.vctk import VctkData, vctk_sentences

Recorder = Callable[..., Path]
Tone = Callable[..., torch.Tensor]
WORDS = ("apple", "boat", "cat", "door", "egg", "fish", "goat", "hat")


@pytest.fixture
def sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path / "data"))
    path = tmp_path / "sentences.txt"
    path.write_text("".join(f"The {word}.\n" for word in WORDS))
    return path


def made(path: Path, **more: int) -> SyntheticSentencesData:
    data = SyntheticSentencesData(path, train=10, val=2, test=2, rate=8000, **more)
    data.prepare_data()
    return data


def test_splits_share_neither_voices_nor_sentences(sentences: Path) -> None:
    data = made(sentences)
    found = {split: data.utterances(split) or [] for split in ("train", "val", "test")}  # type: ignore[arg-type]
    assert {split: len(items) for split, items in found.items()} == {"train": 10, "val": 2, "test": 2}
    for one, other in itertools.combinations(found.values(), 2):
        assert not {item.text for item in one} & {item.text for item in other}
        assert not {item.speaker for item in one} & {item.speaker for item in other}
    assert {item.text for items in found.values() for item in items} == {f"the {word}" for word in WORDS}
    assert all({item.speaker for item in items} <= set(voices(split)) for split, items in found.items())  # type: ignore[arg-type]
    assert all(item.samples(8000).abs().max() > 0.05 for items in found.values() for item in items)


def test_what_was_said_is_kept(sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(sentences)
    made(sentences, seed=1)
    with sentences.open("a") as file:
        file.write("Another one.\n")
    made(sentences)
    assert len(list((tmp_path / "data" / "espeak").iterdir())) == 3
    monkeypatch.setattr(tts_corpus, "synthesize", None)  # nothing is synthesized again
    assert len(made(sentences).utterances("train") or []) == 10


def test_what_is_interrupted_leaves_nothing(
    sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def interrupted(*_: object) -> torch.Tensor:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return torch.zeros(100)

    monkeypatch.setattr(tts_corpus, "synthesize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(sentences)
    assert not list((tmp_path / "data" / "espeak").iterdir())


def test_one_that_another_process_has_made_meanwhile_is_taken(sentences: Path, tmp_path: Path) -> None:
    lines = assign_voices(["one", "two", "three"], {"train": 1, "val": 1, "test": 1}, seed=0)
    folder = tmp_path / "there"
    synthesize_corpus(lines, folder, 8000)
    before = (folder / "train.tsv").stat().st_ino
    synthesize_corpus(lines, folder, 8000)
    assert (folder / "train.tsv").stat().st_ino == before
    assert sorted(path.name for path in tmp_path.glob("there*")) == ["there"]


def test_sentences_are_taken_in_turn_each_time_in_another_voice() -> None:
    lines = assign_voices(WORDS, {"train": 12, "val": 1, "test": 1}, seed=0)["train"]
    assert len({line.text for line in lines[:6]}) == 6
    assert [line.text for line in lines[:6]] == [line.text for line in lines[6:]]
    assert len({line.voice for line in lines}) > 10
    assert all(isinstance(line, Line) for line in lines)


def test_sentences_that_vctk_holds_out_are_excluded_by_their_text(
    record: Recorder, tone: Tone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    names = [f"p239_{number:03}" for number in range(75)]
    for name in names:
        record(f"vctk/vctk_p239_16k/flac/{name}.flac", tone(0.1, 16000), 16000)
    # The last ten are the same sentence: should one of them be held out, all are.
    rows = [f"{name}\tSentence {min(i, 65)}!" for i, name in enumerate(names)]
    (tmp_path / "vctk/vctk_p239_16k/transcripts.tsv").write_text("\n".join(rows))
    data = VctkData()
    held_out = {item.text for split in ("val", "test") for item in data.utterances(split) or []}  # type: ignore[arg-type]
    said = {normalize_text(text) for text in vctk_sentences()}
    assert "sentence 65" in held_out & {item.text for item in data.utterances("train") or []}
    assert said == {item.text for item in data.utterances("train") or []} - held_out
    with pytest.raises(ArgumentError, match=r"VCTK's training split has 14 different .*: 60 of them cannot"):
        SyntheticSentencesData().prepare_data()


def test_too_few_sentences(sentences: Path) -> None:
    with pytest.raises(ArgumentError, match=r"sentences\.txt has 8 different sentences: 8 of them cannot"):
        SyntheticSentencesData(sentences, val=4, test=4).prepare_data()
    with pytest.raises(ValueError, match="must be positive"):
        SyntheticSentencesData(sentences, val=0)


def test_they_can_be_added_to_recordings(
    record: Recorder, tone: Tone, tmp_path: Path, sentences: Path
) -> None:
    for number in range(5):
        record(f"data/vctk/vctk_p239_16k/flac/p239_{number:03}.flac", tone(0.1, 16000), 16000)
    rows = [f"p239_{number:03}\tSentence {number}!" for number in range(5)]
    (tmp_path / "data/vctk/vctk_p239_16k/transcripts.tsv").write_text("\n".join(rows))
    with sentences.open("a") as file:
        file.writelines(f"Sentence of number {number}.\n" for number in range(70))
    alone = SyntheticSentencesData(sentences, train=6)
    alone.prepare_data()
    data = VctkData(val=1, test=2, repeats=3, synthetic=6, sentences=sentences)
    data.prepare_data()
    assert len(list((tmp_path / "data" / "espeak").iterdir())) == 1
    train = data.utterances("train") or []
    own = [item.text for item in train if item.speaker == "p239"]
    assert (len(own), len(set(own)), len(train)) == (6, 2, 12)
    assert [item for item in train if item.speaker != "p239"] == alone.utterances("train")
    assert {item.speaker for split in ("val", "test") for item in data.utterances(split) or []} == {"p239"}  # type: ignore[arg-type]
    record("more/a.wav", tone(0.1, 16000), 16000)
    (tmp_path / "more" / "list.tsv").write_text("path\ttext\na.wav\tOne more.\n")
    more = VctkData(val=1, test=2, extra_manifest=tmp_path / "more" / "list.tsv")
    assert [item.text for item in more.utterances("train") or []][2:] == ["one more"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"synthetic": -1}, "synthetic must be positive"),
        ({"sentences": Path("some.txt")}, "synthetic must be positive"),
    ],
)
def test_numbers_that_make_no_sense(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VctkData(**given)
