"""Audio files: reading, and checks of the samples."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import soundfile  # type: ignore[import-untyped]
import torch
from torch import Tensor
from torchaudio.functional import resample

from recollect.training import DataError

CLIPPED = 0.999
"""Samples of at least this magnitude count as clipped."""


class Clip(NamedTuple):
    """A recording, or a part of one.

    Attributes:
        path: The file.
        start: Start in seconds.
        end: End in seconds; the end of the file by default.
    """

    path: Path
    start: float = 0.0
    end: float | None = None


class Header(NamedTuple):
    """Sample rate and number of samples of a file."""

    rate: int
    frames: int


def read_header(clip: Clip, where: str | None = None) -> Header:
    """Read the header of a clip's file and check that the clip lies within the file.

    Args:
        clip: The clip.
        where: Source of the clip for error messages: a manifest and its line.

    Raises:
        DataError: If the file is missing, unreadable or empty, or the clip does not lie within it.
    """
    with _open(clip, where) as file:
        header = Header(int(file.samplerate), int(file.frames))
        _range(clip, header, where)
    return header


def read_audio(clip: Clip, rate: int, where: str | None = None) -> Tensor:
    """Read the samples of a clip, ``(S,)`` float32 in [−1, 1], mono, at ``rate`` samples per second.

    The format is detected from the content, not the name. Channels are averaged, samples of any width are
    scaled to [−1, 1], and other rates are resampled. Silence and clipped samples are not changed.

    Args:
        clip: The clip.
        rate: Sample rate of the result.
        where: Source of the clip for error messages.

    Raises:
        DataError: As in ``read_header``, and if a sample is not finite.
    """
    with _open(clip, where) as file:
        header = Header(int(file.samplerate), int(file.frames))
        first, last = _range(clip, header, where)
        file.seek(first)
        samples = torch.from_numpy(file.read(last - first, dtype="float32", always_2d=True)).mean(1)
    if not samples.isfinite().all():
        raise DataError(f"{_named(clip, where)} has samples that are not finite")
    resampled: Tensor = resample(samples, header.rate, rate)
    return resampled


def is_silent(samples: Tensor) -> bool:
    """Whether all samples are zero."""
    return not bool(samples.any())


def is_clipped(samples: Tensor) -> bool:
    """Whether more than one sample in a thousand is at full scale."""
    return bool((samples.abs() >= CLIPPED).float().mean() > 0.001)


@contextmanager
def _open(clip: Clip, where: str | None) -> Iterator[Any]:
    if not clip.path.is_file():
        raise DataError(f"{_named(clip, where)}: there is no such file")
    # Opened by descriptor: by name, libsndfile would read a .raw file as samples without a header.
    with clip.path.open("rb") as content:
        try:
            file = soundfile.SoundFile(content.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            raise DataError(f"{_named(clip, where)} is not readable audio: {error.error_string}") from error
        with file:
            yield file


def _range(clip: Clip, header: Header, where: str | None) -> tuple[int, int]:
    """First and last sample of a clip at the rate of the file."""
    if header.frames == 0:
        raise DataError(f"{_named(clip, where)} is empty: 0 seconds of audio")
    length = header.frames / header.rate
    end = length if clip.end is None else clip.end
    # Times that are rounded to milliseconds may lie just beyond the end.
    if not 0 <= clip.start < end <= length + 0.001:
        raise DataError(
            f"{_named(clip, where)}: {clip.start:g} to {end:g} s is not within the {length:.3f} s of the file"
        )
    return round(clip.start * header.rate), min(round(end * header.rate), header.frames)


def _named(clip: Clip, where: str | None) -> str:
    return str(clip.path) if where is None else f"{where}: {clip.path}"
