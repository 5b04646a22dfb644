"""A speech corpus that eSpeak NG speaks: who says which sentence, and the folder where it is kept."""

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import soundfile  # type: ignore[import-untyped]
from rich.progress import track
from torch import Tensor

from recollect.training import Split, data_folder
from recollect.training.errors import ArgumentError
from recollect_speech.data.espeak import Voice, synthesize
from recollect_speech.data.recognition import split_apart

ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")

VARIANTS: dict[Split, tuple[str, ...]] = {
    "train": ("m1", "m2", "m3", "m5", "m7", "f1", "f2", "f4", "Andy", "Annie", "Mario", "Alicia", "klatt"),
    "val": ("m6", "f5", "Lee"),
    "test": ("m4", "m8", "f3", "steph", "Michael", "linda"),
}
"""Voices of eSpeak NG, by split."""

SPEEDS = (130, 220)
"""Words a minute, at least and at most."""

PITCHES = (30, 70)


class Line(NamedTuple):
    """What is to be said, and by whom."""

    text: str
    voice: Voice


class Recording(NamedTuple):
    """A recording: samples ``(S,)``, what is said, and who says it."""

    samples: Tensor
    text: str
    speaker: str


def voices(split: Split) -> list[str]:
    """The voices of a split, in every accent.

    Example:
        >>> len(voices("test")), voices("test")[0], set(voices("train")) & set(voices("test"))
        (36, 'en+m4', set())
    """
    return [f"{accent}+{variant}" for variant in VARIANTS[split] for accent in ACCENTS]


def draw_voice(split: Split, rng: random.Random) -> Voice:
    """A voice of the split, at a speed and a pitch of its own.

    Example:
        >>> draw_voice("val", random.Random(0)).name in voices("val")
        True
    """
    return Voice(rng.choice(voices(split)), rng.randint(*SPEEDS), rng.randint(*PITCHES))


def assign_voices(
    sentences: Sequence[str], counts: Mapping[Split, int], seed: int, source: str = "the list"
) -> dict[Split, list[Line]]:
    """Which sentences belong to which split, and who says them.

    Sentences of validation and test are set aside; those that are left are said in turn, each time by another
    voice, and no voice is in two splits.

    Args:
        sentences: Different ones.
        counts: Recordings of each split.
        seed: Draws it all.
        source: Where the sentences come from, for errors.

    Raises:
        ArgumentError: If there are too few to set aside.

    Example:
        >>> lines = assign_voices(["a", "b", "c"], {"train": 2, "val": 1, "test": 1}, seed=0)
        >>> {split: len({line.text for line in part}) for split, part in lines.items()}
        {'train': 1, 'val': 1, 'test': 1}
    """
    aside = counts["val"] + counts["test"]
    if aside >= len(sentences):
        raise ArgumentError(
            f"{source} has {len(sentences)} different sentences: {aside} of them cannot be set aside"
        )
    rest, held_out = split_apart(len(sentences), aside, seed)
    order = random.Random(f"order {seed}")
    order.shuffle(rest)
    order.shuffle(held_out)
    numbers = {"train": rest, "val": held_out[: counts["val"]], "test": held_out[counts["val"] :]}
    lines: dict[Split, list[Line]] = {}
    for split, count in counts.items():
        rng, which = random.Random(f"{split} {seed}"), numbers[split]
        lines[split] = [Line(sentences[which[i % len(which)]], draw_voice(split, rng)) for i in range(count)]
    return lines


def corpus_folder(lines: Mapping[Split, Sequence[Line]], rate: int) -> Path:
    """Where recordings of these lines stand."""
    key = hashlib.sha256(json.dumps([rate, lines]).encode()).hexdigest()[:16]
    return data_folder("espeak") / key


def synthesize_once(lines: Mapping[Split, Sequence[Line]], rate: int) -> None:
    """Let eSpeak NG say these lines, unless it has."""
    folder = corpus_folder(lines, rate)
    if not folder.is_dir():
        record(lines, folder, rate)


def record(lines: Mapping[Split, Sequence[Line]], folder: Path, rate: int) -> None:
    """Let eSpeak NG say these lines into a folder, whole or not at all: a manifest and FLAC files by split.

    Raises:
        UserError: If eSpeak NG is not installed.
    """
    parts = {split: _said(split, part, rate) for split, part in lines.items()}
    write_corpus(folder, parts, rate)


def _said(split: Split, lines: Sequence[Line], rate: int) -> Iterator[Recording]:
    for line in track(lines, f"speaking {len(lines):,} sentences ({split})", transient=True):
        yield Recording(synthesize(line.text, line.voice, rate), line.text, line.voice.name)


def write_corpus(folder: Path, parts: Mapping[Split, Iterable[Recording]], rate: int) -> None:
    """Write recordings into a new folder, whole or not at all: FLAC files and ``<split>.tsv``.

    Where another process has been faster, its folder stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as made:
        whole = Path(made) / "whole"
        for split, part in parts.items():
            (whole / split).mkdir(parents=True)
            rows = ["path\ttext\tspeaker"]
            for i, item in enumerate(part):
                path = whole / split / f"{i:05}.flac"
                soundfile.write(path, item.samples.numpy(), rate)
                rows.append(f"{path.relative_to(whole)}\t{item.text}\t{item.speaker}")
            (whole / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
