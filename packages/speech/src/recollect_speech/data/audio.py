"""Reading recordings."""

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
"""Samples at or beyond this are taken for clipped."""


class Clip(NamedTuple):
    """A recording, or a part of one.

    Attributes:
        path: The file.
        start: Where it begins, in seconds.
        end: Where it ends, in seconds; at the end of the file by default.
    """

    path: Path
    start: float = 0.0
    end: float | None = None


class Header(NamedTuple):
    """What a file says of itself: samples a second, and how many of them."""

    rate: int
    frames: int


def read_header(clip: Clip, where: str | None = None) -> Header:
    """The header of a clip's file, once it is sure that the clip lies within it.

    Args:
        clip: Which part of which file.
        where: Who names the file, to be said in errors: a manifest and its line.

    Raises:
        DataError: If there is no such file, it is no audio, it is empty, or the clip is not within it.
    """
    with _open(clip, where) as file:
        header = Header(int(file.samplerate), int(file.frames))
        _range(clip, header, where)
    return header


def read_audio(clip: Clip, rate: int, where: str | None = None) -> Tensor:
    """The samples of a clip, ``(S,)`` float32 in [−1, 1], of one channel at ``rate`` a second.

    What the file holds decides, not its name; channels are averaged; any width of samples is scaled to
    [−1, 1]; another rate is resampled. Silence and clipped samples come as they are.

    Args:
        clip: Which part of which file.
        rate: Samples a second that are wanted.
        where: Who names the file, to be said in errors.

    Raises:
        DataError: As ``read_header``, and if a sample is not finite.
    """
    with _open(clip, where) as file:
        header = Header(int(file.samplerate), int(file.frames))
        first, last = _range(clip, header, where)
        file.seek(first)
        samples = torch.from_numpy(file.read(last - first, dtype="float32", always_2d=True)).mean(1)
    if not samples.isfinite().all():
        raise DataError(f"{_named(clip, where)} holds samples that are not finite")
    resampled: Tensor = resample(samples, header.rate, rate)
    return resampled


def is_silent(samples: Tensor) -> bool:
    """Whether nothing at all is to be heard."""
    return not bool(samples.any())


def is_clipped(samples: Tensor) -> bool:
    """Whether more than one sample in a thousand is at full scale."""
    return bool((samples.abs() >= CLIPPED).float().mean() > 0.001)


@contextmanager
def _open(clip: Clip, where: str | None) -> Iterator[Any]:
    if not clip.path.is_file():
        raise DataError(f"{_named(clip, where)}: there is no such file")
    # By its contents: libsndfile would take a file called .raw for samples without a header.
    with clip.path.open("rb") as content:
        try:
            file = soundfile.SoundFile(content.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            raise DataError(
                f"{_named(clip, where)} is no audio that can be read: {error.error_string}"
            ) from error
        with file:
            yield file


def _range(clip: Clip, header: Header, where: str | None) -> tuple[int, int]:
    """First and last sample, in those of the file."""
    if header.frames == 0:
        raise DataError(f"{_named(clip, where)} holds no sound: it is 0 seconds long")
    length = header.frames / header.rate
    end = length if clip.end is None else clip.end
    # A time that was rounded to milliseconds may lie just beyond the end.
    if not 0 <= clip.start < end <= length + 0.001:
        raise DataError(
            f"{_named(clip, where)}: {clip.start:g} to {end:g} s is no part of it; it is {length:.3f} s long"
        )
    return round(clip.start * header.rate), min(round(end * header.rate), header.frames)


def _named(clip: Clip, where: str | None) -> str:
    return str(clip.path) if where is None else f"{where}: {clip.path}"
