"""Corpora of synthetic speech: voices and sentences of each split, and the folder that keeps them."""

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
from recollect.training.splits import hold_out
from recollect_speech.data.espeak import Voice, synthesize

ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")

VARIANTS: dict[Split, tuple[str, ...]] = {
    "train": ("m1", "m2", "m3", "m5", "m7", "f1", "f2", "f4", "Andy", "Annie", "Mario", "Alicia", "klatt"),
    "val": ("m6", "f5", "Lee"),
    "test": ("m4", "m8", "f3", "steph", "Michael", "linda"),
}
"""Variants of eSpeak NG's voices by split; no variant is in two splits."""

SPEEDS = (130, 220)
"""Minimum and maximum of words per minute."""

PITCHES = (30, 70)
"""Minimum and maximum of the pitch."""


class Line(NamedTuple):
    """A sentence and the voice that speaks it."""

    text: str
    voice: Voice


class Recording(NamedTuple):
    """A recording: samples ``(S,)``, transcript and speaker."""

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
    """Draw a voice of a split, with its speed and pitch.

    Example:
        >>> draw_voice("val", random.Random(0)).name in voices("val")
        True
    """
    return Voice(rng.choice(voices(split)), rng.randint(*SPEEDS), rng.randint(*PITCHES))


def assign_voices(
    sentences: Sequence[str], counts: Mapping[Split, int], seed: int, source: str = "the list"
) -> dict[Split, list[Line]]:
    """Assign sentences to splits and voices to sentences.

    Sentences of validation and test are held out. The others are spoken in turn, each time in another voice;
    no voice is in two splits.

    Args:
        sentences: Distinct sentences.
        counts: Number of recordings of each split.
        seed: Seed of all choices.
        source: Source of the sentences for error messages.

    Raises:
        ArgumentError: If there are too few sentences to hold out.

    Example:
        >>> lines = assign_voices(["a", "b", "c"], {"train": 2, "val": 1, "test": 1}, seed=0)
        >>> {split: len({line.text for line in part}) for split, part in lines.items()}
        {'train': 1, 'val': 1, 'test': 1}
    """
    aside = counts["val"] + counts["test"]
    if aside >= len(sentences):
        raise ArgumentError(
            f"{source} has {len(sentences)} different sentences: {aside} of them cannot be held out"
        )
    rest, held_out = hold_out(len(sentences), aside, seed)
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
    """The folder of the recordings of these lines."""
    key = hashlib.sha256(json.dumps([rate, lines]).encode()).hexdigest()[:16]
    return data_folder("espeak") / key


def synthesize_once(lines: Mapping[Split, Sequence[Line]], rate: int) -> None:
    """Synthesize these lines unless they are in their folder already."""
    folder = corpus_folder(lines, rate)
    if not folder.is_dir():
        synthesize_corpus(lines, folder, rate)


def synthesize_corpus(lines: Mapping[Split, Sequence[Line]], folder: Path, rate: int) -> None:
    """Synthesize these lines into a new folder, atomically: a manifest and FLAC files for each split.

    Raises:
        UserError: If eSpeak NG is not installed.
    """
    parts = {split: _synthesize_lines(split, part, rate) for split, part in lines.items()}
    write_corpus(folder, parts, rate)


def _synthesize_lines(split: Split, lines: Sequence[Line], rate: int) -> Iterator[Recording]:
    for line in track(lines, f"synthesizing {len(lines):,} sentences ({split})", transient=True):
        yield Recording(synthesize(line.text, line.voice, rate), line.text, line.voice.name)


def write_corpus(folder: Path, parts: Mapping[Split, Iterable[Recording]], rate: int) -> None:
    """Write recordings to a new folder, atomically: FLAC files and ``<split>.tsv``.

    If another process has created the folder in the meantime, its folder stays.
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
