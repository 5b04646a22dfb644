"""Sentences that eSpeak NG speaks once, and that are kept."""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from recollect.training import Split, data_folder
from recollect.training.errors import ArgumentError
from recollect_speech.data.espeak import Voice, speak
from recollect_speech.data.recognition import split_apart
from recollect_speech.data.voices import draw_voice
from recollect_speech.data.writing import Recording, write_corpus


class Line(NamedTuple):
    """What is to be said, and by whom."""

    text: str
    voice: Voice


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
        chance, which = random.Random(f"{split} {seed}"), numbers[split]
        lines[split] = [
            Line(sentences[which[i % len(which)]], draw_voice(split, chance)) for i in range(count)
        ]
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
        yield Recording(speak(line.text, line.voice, rate), line.text, line.voice.name)
