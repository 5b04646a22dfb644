"""Recordings with transcripts, and the manifests and folders that list them."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from recollect.training import DataError
from recollect_speech.data.audio import Clip, read_audio, read_header

FIELDS = ("path", "text", "start", "end", "speaker")

AUDIO = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus")
"""Suffixes of recordings in a folder; files that are named explicitly may have any name."""


class Utterance(NamedTuple):
    """A recording and its transcript.

    Attributes:
        audio: A clip of a file, or samples ``(S,)`` and their rate.
        text: The transcript; empty if unknown.
        name: Name in predictions.
        speaker: Name of the speaker, ``None`` if unknown.
        where: Manifest and line, for error messages.
    """

    audio: Clip | tuple[Tensor, int]
    text: str
    name: str
    speaker: str | None = None
    where: str | None = None

    def samples(self, rate: int) -> Tensor:
        """Samples ``(S,)`` at ``rate`` samples per second."""
        if isinstance(self.audio, Clip):
            return read_audio(self.audio, rate, self.where)
        samples, own = self.audio
        if own != rate:
            raise ValueError(f"{self.name} has {own} samples per second, not {rate}")
        return samples

    def seconds(self) -> float:
        """Duration in seconds."""
        if not isinstance(self.audio, Clip):
            return len(self.audio[0]) / self.audio[1]
        header = read_header(self.audio, self.where)
        end = header.frames / header.rate if self.audio.end is None else self.audio.end
        return end - self.audio.start


def read_manifest(path: Path, texts: bool = True) -> list[Utterance]:
    """Read a ``.tsv`` or ``.jsonl`` manifest.

    A ``.tsv`` file has a header. Its columns, and the keys of a JSON line, are ``path``, ``text`` and
    optionally ``start``, ``end`` (seconds) and ``speaker``. Paths are relative to the manifest. The headers
    of all files are checked, so errors are found before training.

    Args:
        path: The manifest.
        texts: Whether every recording must have a transcript.

    Raises:
        DataError: If the manifest, a line or a file is invalid; the message names file and line.
    """
    if not path.is_file():
        raise DataError(f"manifest {path} does not exist")
    rows = _json_lines(path) if path.suffix == ".jsonl" else _table(path)
    found = [_utterance(path, line, row, texts) for line, row in rows]
    if not found:
        raise DataError(f"{path} lists no recordings")
    return found


def read_folder(folder: Path) -> list[Utterance]:
    """All recordings in a folder and its subfolders, sorted by name, without transcripts.

    Raises:
        DataError: If there are none, or one is invalid.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO)
    if not paths:
        raise DataError(f"{folder} has no recordings ({', '.join(AUDIO)})")
    return [read_file(path, str(path.relative_to(folder))) for path in paths]


def read_file(path: Path, name: str | None = None) -> Utterance:
    """A recording without a transcript.

    Raises:
        DataError: If it is invalid.
    """
    read_header(Clip(path))
    return Utterance(Clip(path), "", name or path.name)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {line}: invalid JSON: {error.msg}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {line}: not a JSON object")
        yield line, row


def _table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv.reader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    header = next(rows, [])
    if "path" not in header:
        raise DataError(f"{path}, line 1: expected a header with the column path, got {header}")
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: {len(row)} cells under {len(header)} columns")
        yield line, {name: cell for name, cell in zip(header, row, strict=True) if cell}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}") from error


def _utterance(path: Path, line: int, row: dict[str, Any], texts: bool) -> Utterance:
    where = f"{path}, line {line}"
    unknown = [name for name in row if name not in FIELDS]
    if unknown:
        raise DataError(f"{where}: {', '.join(unknown)} is not one of {', '.join(FIELDS)}")
    text, speaker = str(row.get("text", "")), row.get("speaker")
    if not row.get("path"):
        raise DataError(f"{where}: no path")
    if texts and not text.strip():
        raise DataError(f"{where}: no text")
    start, end = (_seconds(row, name, where) for name in ("start", "end"))
    clip = Clip(path.parent / str(row["path"]), start or 0.0, end)
    read_header(clip, where)
    name = str(row["path"]) + (
        f"[{start or 0:g}:{'' if end is None else f'{end:g}'}]" if start or end else ""
    )
    return Utterance(clip, text, name, None if speaker is None else str(speaker), where)


def _seconds(row: dict[str, Any], name: str, where: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {name} is {value!r}, not a number of seconds") from error
    if not math.isfinite(seconds):
        raise DataError(f"{where}: {name} is {value!r}")
    return seconds
