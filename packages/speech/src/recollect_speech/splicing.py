"""New sentences of recorded words, where there are few recordings to learn from.

``python -m recollect_speech.splicing RUN --output FOLDER`` takes a run that learnt from the recordings. It
finds when the words of each training recording are said, cuts it there, and joins words of different
recordings of one speaker; those whose speaker is not known are taken for one's. In ``FOLDER``, which must not
exist yet, it leaves FLAC files and ``train.tsv``, a manifest to learn from: ``--data.extra_manifest
FOLDER/train.tsv`` of ``VctkData`` and ``ManifestData``. Lam et al. 2021, "On-the-fly aligned data
augmentation for sequence-to-sequence ASR" (Interspeech), replace single words so.
"""

import random
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from rich.progress import track
from torch import Tensor

from recollect.training import DataError, UserError, load_run
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.tts_corpus import Recording, write_corpus
from recollect_speech.models.alignment import align
from recollect_speech.models.recognition import Recognizer
from recollect_speech.types import TimedWord

FRAME = 0.005
"""Seconds within which loudness is measured."""

REACH = 0.04
"""Seconds that a word may end before its last unit, or after the next word's first one, is heard."""

FADE = 0.01
"""Seconds in which one part passes into the next."""


class WordClip(NamedTuple):
    """A word, and the part of a recording that holds it: samples ``(S,)``."""

    text: str
    samples: Tensor


def cut(samples: Tensor, words: Sequence[TimedWord], rate: int) -> list[WordClip]:
    """A recording ``(S,)`` in parts, one for each of its words, which make up the whole.

    Between two words it is cut where it is least loud.

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
    """Samples ``(S,)`` of parts one after the other; each passes into the next within ``fade`` samples.

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
    """Words of different recordings, up to ``span`` one after the other as they were said.

    Args:
        recordings: Each as its words.
        words: How many words at least and at most.
        span: How many words of a recording stay together at most.
        chance: Draws it all.

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
    """The words of all training recordings, by speaker; of those that are long enough for their text.

    Raises:
        DataError: If not one recording could be cut.
    """
    found: dict[str, list[list[WordClip]]] = {}
    for item in track(data.utterances("train") or [], "finding words", transient=True):
        samples = item.samples(data.rate)
        heard = model(samples.unsqueeze(0), torch.tensor([len(samples)]), [item.speaker])
        log_probs, units = heard.log_probs[0, : heard.lengths[0]], data.units.encode(item.text)
        try:
            words = align(log_probs, units, data.units.name)
        except ValueError:  # fewer steps than units: training learns nothing from it either
            continue
        times = [model.timed(word, len(samples) / data.rate) for word in words]
        if times:
            found.setdefault(item.speaker or "", []).append(cut(samples, times, data.rate))
    if not found:
        raise DataError("no training recording is long enough for what is said in it")
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
    """Write ``count`` sentences and their manifest into a new folder, whole or not at all.

    Raises:
        DataError: If the folder exists.
    """
    if folder.exists():
        raise DataError(f"{folder} exists: name a new folder")
    write_corpus(folder, {"train": _spliced(parts, count, words, span, rate, random.Random(seed))}, rate)


def _spliced(
    parts: Mapping[str, Sequence[Sequence[WordClip]]],
    count: int,
    words: tuple[int, int],
    span: int,
    rate: int,
    chance: random.Random,
) -> Iterator[Recording]:
    """Each speaker as often as there are recordings of theirs."""
    speakers = sorted(parts)
    weights = [len(parts[name]) for name in speakers]
    for _ in track(range(count), f"joining {count:,} sentences", transient=True):
        (speaker,) = chance.choices(speakers, weights)
        said = draw(parts[speaker], words, span, chance)
        samples = join([part.samples for part in said], round(FADE * rate))
        yield Recording(samples, " ".join(part.text for part in said), speaker)


def main(args: Sequence[str] | None = None) -> None:
    """Splice the training recordings of a run: see the module.

    Raises:
        SystemExit: With 2 for wrong arguments, 1 for a run that does not do.
    """
    parser = ArgumentParser("python -m recollect_speech.splicing", description=str(__doc__).split("\n")[0])
    parser.add_argument("run", type=Path, help="run folder of a Recognition")
    parser.add_argument("--output", type=Path, required=True, help="new folder")
    parser.add_argument("--count", type=int, default=3000, help="sentences to make")
    parser.add_argument("--words", type=int, nargs=2, default=(4, 10), metavar=("LEAST", "MOST"))
    parser.add_argument("--span", type=int, default=3, help="words that stay together at most")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(args)
    least, most = chosen.words
    if min(chosen.count, chosen.span, least) < 1 or least > most:
        parser.error("--count, --span and --words must be positive, and --words LEAST not above MOST")
    try:
        run = load_run(chosen.run)
        model, data = run.task.model, run.data
        if not isinstance(model, Recognizer) or not isinstance(data, RecognitionData):
            raise DataError(f"{chosen.run} is no run of Recognition: it does not know when units are said")
        data.prepare_data()
        parts = cut_all(model, data)
        write(parts, chosen.output, chosen.count, (least, most), chosen.span, data.rate, chosen.seed)
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    print(chosen.output / "train.tsv")


def _quietest(samples: Tensor, word: TimedWord, following: TimedWord, rate: int) -> int:
    """The sample at which it is least loud between two words, or thereabouts."""
    earliest = max(word.end - REACH, (word.start + word.end) / 2)
    latest = min(following.start + REACH, (following.start + following.end) / 2)
    size = max(1, round(FRAME * rate))
    first = round(earliest * rate)
    energies = samples[first : max(first + size, round(latest * rate))].square()
    frames = energies[: len(energies) // size * size].view(-1, size).mean(1)
    return first + size * int(frames.argmin()) + size // 2


if __name__ == "__main__":
    main()
