"""Audio files: reading, and checks of the samples."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.functional import resample

from recollect.training import DataError

CLIPPED = 0.999
"""Samples of at least this magnitude count as clipped."""

BLOCK = 1 << 16
"""Samples that are decoded at a time."""

UNKNOWN = 1 << 48
"""Headers that claim more samples do not know how many there are: encoders that write to a pipe."""

STREAM_BYTES = 0x7FFFF000
"""WAV headers that claim more bytes do not know how many there are."""

MP3_TOLERANCE = 0.2
"""Seconds by which headers of MP3 files are wrong about their length without being cut."""

_CHUNK = re.compile(r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)


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


def check_audio(path: Path, where: str | None = None) -> Header:
    """Decode a whole file and count its samples.

    Args:
        path: The file.
        where: Source of the file for error messages: a manifest and its line.

    Raises:
        DataError: If the file is missing, not audio, empty, damaged or cut short.
    """
    with _open(path, where) as file:
        frames = sum(len(block) for block in _blocks(file))
        said = _said_frames(file)
        if said is not None and frames < said - _slack(file):
            raise DataError(
                f"{_named(path, where)} is cut short: its header says {said / file.samplerate:.3f} s, "
                f"{frames / file.samplerate:.3f} s are there"
            )
        header = Header(int(file.samplerate), frames)
    if frames == 0:
        raise DataError(f"{_named(path, where)} is empty: 0 seconds of audio")
    return header


def read_header(clip: Clip, where: str | None = None) -> Header:
    """Read the header of a clip's file and check that the clip lies within the file.

    Raises:
        DataError: If the file is missing, unreadable or empty, or the clip does not lie within it.
    """
    with _open(clip.path, where) as file:
        frames = _said_frames(file)
        header = Header(int(file.samplerate), sum(map(len, _blocks(file))) if frames is None else frames)
    check_range(clip, header, where)
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
        DataError: As in ``read_header``, and if the clip is damaged or a sample is not finite.
    """
    with _open(clip.path, where) as file:
        frames, slack = _said_frames(file), _slack(file)
        if frames is None:  # no length, no seeking: read to the end
            mono = _mono(_blocks(file))
            header = Header(int(file.samplerate), len(mono))
            first, last = check_range(clip, header, where)
            samples = mono[first:last]
        else:
            header = Header(int(file.samplerate), frames)
            first, last = check_range(clip, header, where)
            file.seek(first)
            samples = _mono(_blocks(file, last - first))
    if len(samples) < last - first - (slack if clip.end is None else 0):
        raise DataError(
            f"{_named(clip.path, where)} is cut short: {(first + len(samples)) / header.rate:.3f} of "
            f"{last / header.rate:.3f} s are there"
        )
    if not np.isfinite(samples).all():
        raise DataError(f"{_named(clip.path, where)} has samples that are not finite")
    resampled: Tensor = resample(torch.from_numpy(samples), header.rate, rate)
    return resampled


def check_range(clip: Clip, header: Header, where: str | None) -> tuple[int, int]:
    """First and last sample of a clip at the rate of the file.

    Raises:
        DataError: If the clip does not lie within the file, or holds no sample.
    """
    if header.frames == 0:
        raise DataError(f"{_named(clip.path, where)} is empty: 0 seconds of audio")
    length = header.frames / header.rate
    end = length if clip.end is None else clip.end
    # Times that are rounded to milliseconds may lie just beyond the end.
    if not 0 <= clip.start < end <= length + 0.001:
        raise DataError(
            f"{_named(clip.path, where)}: {clip.start:g} to {end:g} s is not within the {length:.3f} s of "
            "the file"
        )
    first, last = round(clip.start * header.rate), min(round(end * header.rate), header.frames)
    if last <= first:
        raise DataError(f"{_named(clip.path, where)}: {clip.start:g} to {end:g} s holds no sample of audio")
    return first, last


def is_silent(samples: Tensor) -> bool:
    """Whether all samples are zero."""
    return not bool(samples.any())


def is_clipped(samples: Tensor) -> bool:
    """Whether more than one sample in a thousand is at full scale."""
    return bool((samples.abs() >= CLIPPED).float().mean() > 0.001)


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from front to back: seeking after each block fails where the length is unknown."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _open(path: Path, where: str | None) -> Iterator[Any]:
    if not path.is_file():
        raise DataError(f"{_named(path, where)}: there is no such file")
    # Opened by descriptor: by name, libsndfile would read a .raw file as samples without a header.
    with path.open("rb") as content:
        try:
            file = _Stream(content.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            raise DataError(f"{_named(path, where)} is not readable audio: {error.error_string}") from error
        with file:
            try:
                yield file
            except soundfile.LibsndfileError as error:
                raise DataError(f"{_named(path, where)} is damaged: {error.error_string}") from error


def _slack(file: Any) -> int:
    """Samples by which a header may be wrong."""
    return round(MP3_TOLERANCE * file.samplerate) if file.format in ("MP3", "MPEG") else 0


def _said_frames(file: Any) -> int | None:
    """The number of samples that the header promises; ``None`` if it does not know."""
    frames = int(file.frames)
    if frames > UNKNOWN:
        return None
    cut = _CHUNK.search(file.extra_info)  # libsndfile corrects the header and says so in its log
    if cut is not None and int(cut[2]) < int(cut[1]) < STREAM_BYTES:
        return round(frames * int(cut[1]) / max(int(cut[2]), 1))
    return frames


def _blocks(file: Any, frames: int | None = None) -> Iterator[NDArray[np.float32]]:
    """Samples ``(S, channels)`` from the present place on, block by block; all of them by default."""
    left = UNKNOWN if frames is None else frames
    while left > 0:
        block = file.read(min(BLOCK, left), dtype="float32", always_2d=True)
        if len(block) == 0:
            return
        left -= len(block)
        yield block


def _mono(blocks: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    means = [block.mean(1) for block in blocks]
    return np.concatenate(means) if means else np.zeros(0, dtype=np.float32)


def _named(path: Path, where: str | None) -> str:
    return str(path) if where is None else f"{where}: {path}"
