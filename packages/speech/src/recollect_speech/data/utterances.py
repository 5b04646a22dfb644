"""Recordings with transcripts, and the manifests and folders that list them."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from recollect.training import DataError
from recollect.training.folders import files_below
from recollect.training.tables import to_float
from recollect.training.text import read_lines
from recollect_speech.data.audio import Clip, Header, check_audio, check_range, read_audio, read_header
from recollect_speech.data.units import normalize_text

FIELDS = ("path", "text", "start", "end", "duration", "speaker")

SYNONYMS = {
    "path": ("audio_filepath", "audio_path", "audio", "file", "file_name", "filename", "wav"),
    "text": ("sentence", "transcript", "transcription"),
    "start": ("offset",),
    "speaker": ("speaker_id", "client_id"),
}
"""What NeMo's, Common Voice's and Hugging Face's manifests call the fields."""

UNUSED = frozenset(
    {"up_votes", "down_votes", "age", "gender", "accent", "accents", "locale", "segment", "variant"}
    | {"sentence_id", "sentence_domain"}
)
"""Columns of Common Voice that are not used."""

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
    optionally ``start``, ``end`` or ``duration`` (seconds) and ``speaker``, or ``SYNONYMS`` of them. Paths
    are relative to the manifest. All files are decoded once, so that damage is found before training.

    Args:
        path: The manifest.
        texts: Whether every recording must have a transcript.

    Raises:
        DataError: If the manifest, a line or a file is invalid; the message names file and line.
    """
    if not path.is_file():
        raise DataError(f"manifest {path} does not exist")
    rows = _json_lines(path) if path.suffix == ".jsonl" else _table(path)
    checked: dict[Path, Header] = {}
    found = [_utterance(path, line, row, texts, checked) for line, row in rows]
    if not found:
        raise DataError(f"{path} lists no recordings")
    return found


def read_folder(folder: Path) -> list[Utterance]:
    """All recordings in a folder and its subfolders, links followed, sorted by name, without transcripts.

    Raises:
        DataError: If there are none, or one is invalid.
    """
    paths = files_below(folder, AUDIO)
    if not paths:
        raise DataError(f"{folder} has no recordings ({', '.join(AUDIO)})")
    return [read_file(path, str(path.relative_to(folder))) for path in paths]


def read_file(path: Path, name: str | None = None) -> Utterance:
    """A recording without a transcript.

    Raises:
        DataError: If it is invalid.
    """
    check_audio(path)
    return Utterance(Clip(path), "", name or path.name)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(read_lines(path), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise DataError(f"{path}, line {line}: invalid JSON: {reason}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {line}: not a JSON object")
        yield line, row


def _table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = [line.split("\t") for line in read_lines(path)]
    header = [name.strip() for name in rows[0]] if rows else []
    if "path" not in map(_field, header):
        raise DataError(f"{path}, line 1: expected a header with the column path, got {header}")
    if len(set(header)) < len(header):
        raise DataError(f"{path}, line 1: a column is named twice: {', '.join(header)}")
    for line, row in enumerate(rows[1:], start=2):
        if row == [""]:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: {len(row)} cells under {len(header)} columns")
        yield line, {name: cell for name, cell in zip(header, row, strict=True) if cell}


def _field(name: str) -> str:
    """What a column or key is called here."""
    return next((field for field, names in SYNONYMS.items() if name in names), name)


def _utterance(
    path: Path, line: int, row: dict[str, Any], texts: bool, checked: dict[Path, Header]
) -> Utterance:
    where = f"{path}, line {line}"
    named = [(_field(name), value) for name, value in row.items() if name not in UNUSED and value is not None]
    fields = dict(named)
    if len(fields) < len(named):
        raise DataError(f"{where}: {', '.join(row)} name the same thing twice")
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise DataError(f"{where}: {', '.join(unknown)} is not one of {', '.join(FIELDS)}")
    file, text = (_string(fields, name, where) for name in ("path", "text"))
    if not file:
        raise DataError(f"{where}: no path")
    if texts and not normalize_text(text):
        raise DataError(f"{where}: no text" + (f" besides punctuation: {text!r}" if text.strip() else ""))
    start, end, duration = (_seconds(fields, name, where) for name in ("start", "end", "duration"))
    if duration is not None:
        if end is not None:
            raise DataError(f"{where}: either end or duration")
        end = (start or 0.0) + duration
    clip = Clip(path.parent / file, start or 0.0, end)
    if clip.path not in checked:
        checked[clip.path] = check_audio(clip.path, where)
    check_range(clip, checked[clip.path], where)
    name = file + (f"[{start or 0:g}:{'' if end is None else f'{end:g}'}]" if start or end else "")
    speaker = fields.get("speaker")
    return Utterance(clip, text, name, None if speaker is None else str(speaker), where)


def _string(fields: dict[str, Any], name: str, where: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} is {json.dumps(value)}, not a string")
    return value


def _seconds(fields: dict[str, Any], name: str, where: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    seconds = to_float(value) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise DataError(f"{where}: {name} is {value!r}, not a number of seconds")
    return float(seconds)
