"""Sentences spoken by eSpeak NG: what can be learnt from before recordings, of which there are few."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, final

import soundfile  # type: ignore[import-untyped]
from rich.progress import track

from recollect.training import Split, data_folder
from recollect.training.errors import ArgumentError
from recollect_speech.data.espeak import Voice, speak
from recollect_speech.data.manifest import Utterance, read_manifest
from recollect_speech.data.recognition import RecognitionData, split_apart
from recollect_speech.data.texts import read_sentences
from recollect_speech.data.units import Kind, plain
from recollect_speech.data.vctk import SPEAKER, prepare, read_splits
from recollect_speech.data.voices import draw_voice


class Line(NamedTuple):
    """What is to be said, and by whom."""

    text: str
    voice: Voice


@final
class SpokenTextsData(RecognitionData):
    """Sentences of a text file, spoken in several voices, accents, speeds and pitches.

    Without a file they are those of ``VctkData`` that training there learns from: none of the sentences that
    it holds out. Voices and sentences of validation and test do not occur in training; everything is drawn by
    ``seed``. What has been said is kept in ``espeak`` under ``RECOLLECT_DATA`` (else the user's cache
    folder): manifests and FLAC files, in a folder for each choice of sentences, numbers, rate and seed.

    Args:
        path: A text file, one sentence a line, for ``fit``; for ``predict`` a recording, a folder or a
            manifest.
        train: Recordings to learn from: all sentences that are not set aside in turn, each time in another
            voice.
        val: Sentences that are set aside to choose by.
        test: Sentences that are set aside to report on.
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        subwords: As in ``RecognitionData``.
        ngram: As in ``RecognitionData``.
        speeds: As in ``RecognitionData``.
        noise: As in ``RecognitionData``.
        batch_size: As in ``RecognitionData``.
        num_workers: As in ``RecognitionData``.
        seed: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        path: Path | None = None,
        train: int = 3000,
        val: int = 20,
        test: int = 40,
        rate: int = 16000,
        units: Kind = "characters",
        subwords: int = 256,
        ngram: int = 0,
        speeds: tuple[float, ...] = (1.0,),
        noise: tuple[float, float] | None = None,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(rate, units, subwords, ngram, speeds, noise, path, batch_size, num_workers, seed)
        if min(train, val, test) < 1:
            raise ValueError(f"train, val and test must be positive, got {train}, {val} and {test}")
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self._folder: Path | None = None

    def prepare_data(self) -> None:
        """Let eSpeak NG say what it has not said before; predicting from a checkpoint needs none of it."""
        if self.trainer is not None and self.trainer.predicting:
            return
        if self.path is None:
            prepare(SPEAKER)
        lines = self._lines()
        folder = folder_of(lines, self.rate)
        if not folder.is_dir():
            record(lines, folder, self.rate)

    def read(self, split: Split) -> list[Utterance]:
        """What was said of a split."""
        if self._folder is None:
            self._folder = folder_of(self._lines(), self.rate)
        return read_manifest(self._folder / f"{split}.tsv")

    def _lines(self) -> dict[Split, list[Line]]:
        sentences = vctk_sentences() if self.path is None else read_sentences(self.path)
        held_out = self.counts["val"] + self.counts["test"]
        if held_out >= len(sentences):
            source = "VCTK's training split" if self.path is None else str(self.path)
            raise ArgumentError(
                f"{source} has {len(sentences)} different sentences: {held_out} of them cannot be set aside"
            )
        return cast_parts(sentences, self.counts, self.seed)


def vctk_sentences() -> list[str]:
    """The sentences that ``VctkData`` learns from, without any that it holds out."""
    splits = read_splits()
    held_out = {plain(item.text) for split in ("val", "test") for item in splits[split]}
    said = {plain(item.text): item.text for item in splits["train"]}
    return [text for key, text in said.items() if key not in held_out]


def cast_parts(sentences: Sequence[str], counts: Mapping[Split, int], seed: int) -> dict[Split, list[Line]]:
    """Which sentences belong to which split, and who says them.

    Example:
        >>> lines = cast_parts(["a", "b", "c"], {"train": 2, "val": 1, "test": 1}, seed=0)
        >>> {split: len({line.text for line in part}) for split, part in lines.items()}
        {'train': 1, 'val': 1, 'test': 1}
    """
    rest, held_out = split_apart(len(sentences), counts["val"] + counts["test"], seed)
    order = random.Random(f"order {seed}")
    order.shuffle(rest)
    order.shuffle(held_out)
    numbers = {"train": rest, "val": held_out[: counts["val"]], "test": held_out[counts["val"] :]}
    lines: dict[Split, list[Line]] = {}
    for split, count in counts.items():
        chance, which = random.Random(f"{split} {seed}"), numbers[split]
        lines[split] = [
            Line(sentences[which[i % len(which)]], draw_voice(split, chance)) for i in range(count)
        ]
    return lines


def folder_of(lines: Mapping[Split, Sequence[Line]], rate: int) -> Path:
    """Where recordings of these lines stand."""
    key = hashlib.sha256(json.dumps([rate, lines]).encode()).hexdigest()[:16]
    return data_folder("espeak") / key


def record(lines: Mapping[Split, Sequence[Line]], folder: Path, rate: int) -> None:
    """Let eSpeak NG say these lines into a folder, whole or not at all: a manifest and FLAC files by split.

    Raises:
        UserError: If eSpeak NG is not installed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    numbered = [(split, i, line) for split, part in lines.items() for i, line in enumerate(part)]
    rows: dict[Split, list[str]] = {split: ["path\ttext\tspeaker"] for split in lines}
    with TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as made:
        whole = Path(made) / "whole"
        for split, i, line in track(numbered, f"speaking {len(numbered):,} sentences", transient=True):
            path = whole / split / f"{i:05}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, speak(line.text, line.voice, rate).numpy(), rate)
            rows[split].append(f"{path.relative_to(whole)}\t{line.text}\t{line.voice.name}")
        for split, listed in rows.items():
            (whole / f"{split}.tsv").write_text("\n".join(listed) + "\n", encoding="utf-8")
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process has been faster
                raise
