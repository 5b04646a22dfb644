"""Splice recorded words into new training sentences.

``recollect-speech splice RUN --output FOLDER`` aligns the training recordings of a run with their
transcripts, cuts them between words, and joins words of different recordings of the same speaker. Recordings
of unknown speakers count as one speaker's. ``FOLDER`` must not exist; the command writes FLAC files and
``train.tsv`` to it, a manifest for the argument ``extra_manifest`` of the data modules.

Lam et al. 2021, "On-the-fly aligned data augmentation for sequence-to-sequence ASR" (Interspeech), replace
single words in this way.
"""

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from rich.progress import track
from torch import Tensor

from recollect.training import DataError, TrainedRun
from recollect.training.load import report_runs
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.tts_corpus import Recording, write_corpus
from recollect_speech.models.alignment import align
from recollect_speech.models.recognition import Recognizer
from recollect_speech.tasks.recognition import Recognition
from recollect_speech.types import TimedWord

FRAME = 0.005
"""Length in seconds of the frames whose loudness is measured."""

REACH = 0.04
"""Seconds by which a cut may lie inside the aligned span of a word."""

FADE = 0.01
"""Seconds of cross-fade between two clips."""


class WordClip(NamedTuple):
    """A word and the samples ``(S,)`` of the recording in which it is spoken."""

    text: str
    samples: Tensor


def cut(samples: Tensor, words: Sequence[TimedWord], rate: int) -> list[WordClip]:
    """Cut a recording ``(S,)`` into one clip per word; together the clips are the whole recording.

    Each cut lies at the quietest point between two words.

    Example:
        >>> samples = torch.cat([torch.ones(50), torch.zeros(20), torch.ones(50)])
        >>> words = [TimedWord("a", 0.0, 0.5, 1.0), TimedWord("b", 0.7, 1.2, 1.0)]
        >>> [(part.text, len(part.samples)) for part in cut(samples, words, rate=100)]
        [('a', 50), ('b', 70)]
    """
    bounds = [0, *(_quietest(samples, a, b, rate) for a, b in pairwise(words)), len(samples)]
    return [
        WordClip(word.text, samples[start:end])
        for word, (start, end) in zip(words, pairwise(bounds), strict=True)
    ]


def join(parts: Sequence[Tensor], fade: int) -> Tensor:
    """Concatenate samples with a linear cross-fade of ``fade`` samples.

    Example:
        >>> join([torch.ones(4), torch.zeros(4)], fade=2)
        tensor([1.0000, 1.0000, 0.6667, 0.3333, 0.0000, 0.0000])
    """
    whole = parts[0]
    for part in parts[1:]:
        both = min(fade, len(whole), len(part))
        up = torch.linspace(0, 1, both + 2)[1:-1]
        passing = whole[len(whole) - both :] * (1 - up) + part[:both] * up
        whole = torch.cat([whole[: len(whole) - both], passing, part[both:]])
    return whole


def draw(
    recordings: Sequence[Sequence[WordClip]], words: tuple[int, int], span: int, chance: random.Random
) -> list[WordClip]:
    """Draw words from several recordings, keeping up to ``span`` consecutive words together.

    Args:
        recordings: The clips of each recording, in order.
        words: Minimum and maximum number of words.
        span: Maximum number of consecutive words taken from one recording.
        chance: Source of randomness.

    Example:
        >>> parts = [[WordClip(word, torch.zeros(1)) for word in text.split()] for text in ("a b c", "d e")]
        >>> " ".join(part.text for part in draw(parts, (4, 4), span=2, chance=random.Random(1)))
        'b e d d'
    """
    wanted = chance.randint(*words)
    found: list[WordClip] = []
    while len(found) < wanted:
        source = chance.choice(recordings)
        first = chance.randrange(len(source))
        found += source[first : first + min(chance.randint(1, span), wanted - len(found))]
    return found


@torch.no_grad()
def cut_all(model: Recognizer, data: RecognitionData) -> dict[str, list[list[WordClip]]]:
    """Cut all training recordings into words, by speaker; recordings too short for their text are skipped.

    Raises:
        DataError: If no recording can be cut.
    """
    found: dict[str, list[list[WordClip]]] = {}
    for item in track(data.utterances("train") or [], "aligning words", transient=True):
        samples = item.samples(data.rate)
        output = model(samples.unsqueeze(0), torch.tensor([len(samples)]), [item.speaker])
        log_probs, units = output.log_probs[0, : output.lengths[0]], data.units.encode(item.text)
        try:
            words = align(log_probs, units, data.units.name)
        except ValueError:  # fewer steps than units: its CTC loss is zero, too
            continue
        times = [model.timed(word, len(samples) / data.rate) for word in words]
        if times:
            found.setdefault(item.speaker or "", []).append(cut(samples, times, data.rate))
    if not found:
        raise DataError("every training recording is too short for its transcript")
    return found


def write(
    parts: Mapping[str, Sequence[Sequence[WordClip]]],
    folder: Path,
    count: int,
    words: tuple[int, int],
    span: int,
    rate: int,
    seed: int,
) -> None:
    """Write ``count`` sentences and their manifest to a new folder, atomically.

    Raises:
        DataError: If the folder exists.
    """
    if folder.exists():
        raise DataError(f"{folder} exists already; choose a new folder")
    write_corpus(folder, {"train": _spliced(parts, count, words, span, rate, random.Random(seed))}, rate)


def _spliced(
    parts: Mapping[str, Sequence[Sequence[WordClip]]],
    count: int,
    words: tuple[int, int],
    span: int,
    rate: int,
    chance: random.Random,
) -> Iterator[Recording]:
    """Spliced sentences; a speaker is drawn in proportion to the number of their recordings."""
    speakers = sorted(parts)
    weights = [len(parts[name]) for name in speakers]
    for _ in track(range(count), f"splicing {count:,} sentences", transient=True):
        (speaker,) = chance.choices(speakers, weights)
        clips = draw(parts[speaker], words, span, chance)
        samples = join([clip.samples for clip in clips], round(FADE * rate))
        yield Recording(samples, " ".join(clip.text for clip in clips), speaker)


def run(options: argparse.Namespace) -> None:
    """Splice the training recordings of the run folder ``options.run``."""
    report_runs("recollect_speech", [options.run], lambda folder, run: _splice(folder, run, options))


def _splice(folder: str, run: TrainedRun, options: argparse.Namespace) -> None:
    task = run.task
    if not isinstance(task, Recognition):
        raise DataError(f"{folder} is not a run of Recognition, so its recordings cannot be aligned")
    parts = cut_all(task.model, task.data)
    write(
        parts, options.output, options.count, tuple(options.words), options.span, task.data.rate, options.seed
    )
    print(options.output / "train.tsv")


def _quietest(samples: Tensor, word: TimedWord, following: TimedWord, rate: int) -> int:
    """The index of the quietest sample between two words."""
    earliest = max(word.end - REACH, (word.start + word.end) / 2)
    latest = min(following.start + REACH, (following.start + following.end) / 2)
    size = max(1, round(FRAME * rate))
    first = round(earliest * rate)
    energies = samples[first : max(first + size, round(latest * rate))].square()
    frames = energies[: len(energies) // size * size].view(-1, size).mean(1)
    return first + size * int(frames.argmin()) + size // 2
