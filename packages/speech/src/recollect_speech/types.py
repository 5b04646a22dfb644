"""Records that data, models, tasks and figures share."""

from typing import NamedTuple

from torch import Tensor

BLANK = 0
"""The number of the CTC blank."""


class TimedWord(NamedTuple):
    """A word, its start and end in seconds, and its confidence in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float


class SpeechItem(NamedTuple):
    """A recording: samples ``(S,)``, units and text of its transcript, name and speaker."""

    samples: Tensor
    units: list[int]
    text: str
    name: str
    speaker: str | None


class SpeechBatch(NamedTuple):
    """A batch of B recordings.

    Attributes:
        samples: ``(B, S)``, padded with zeros.
        lengths: ``(B,)`` int64, number of samples.
        units: ``(B, U)`` int64, units of the transcripts, padded with the blank.
        unit_lengths: ``(B,)`` int64, number of units.
        texts: Transcripts.
        names: Names of the recordings.
        speakers: Names of the speakers, ``None`` if unknown.
    """

    samples: Tensor
    lengths: Tensor
    units: Tensor
    unit_lengths: Tensor
    texts: list[str]
    names: list[str]
    speakers: list[str | None]
