"""Records that data, models, tasks and figures share."""

from typing import NamedTuple

from torch import Tensor

BLANK = 0
"""The unit that stands for the blank of CTC."""


class TimedWord(NamedTuple):
    """A word, when it was said in seconds, and its confidence in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float


class SpeechItem(NamedTuple):
    """One recording: its samples ``(S,)``, its units, and what it is."""

    samples: Tensor
    units: list[int]
    text: str
    name: str
    speaker: str | None


class SpeechBatch(NamedTuple):
    """B recordings.

    Attributes:
        samples: ``(B, S)``, padded with zeros.
        lengths: ``(B,)`` int64, samples of each.
        units: ``(B, U)`` int64, what is said; padded with the blank, which is 0.
        unit_lengths: ``(B,)`` int64.
        texts: What is said.
        names: What each recording is called.
        speakers: Who speaks, ``None`` where that is not known.
    """

    samples: Tensor
    lengths: Tensor
    units: Tensor
    unit_lengths: Tensor
    texts: list[str]
    names: list[str]
    speakers: list[str | None]
