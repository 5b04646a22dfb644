"""Files of interactions: ``user item [rating] [timestamp]``, one per line."""

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recollect.training import DataError

Column = Literal["user", "item", "rating", "timestamp"]

COLUMNS: tuple[Column, ...] = ("user", "item", "rating", "timestamp")
"""Default columns of a file."""

USER_HEADERS = {"user", "users", "userid", "user_id", "user id", "uid"}
"""Names of the user column in a header."""

LOOKS_LIKE_TIME = 1e6
"""Larger ratings are probably timestamps."""


class Events(NamedTuple):
    """Interactions in the order of a file.

    Attributes:
        source: Origin in messages.
        users: User of each event.
        items: Item of each event.
        stamps: Time of each event; ``None`` if the file is in order of time.
        lines: Line number of each event, from 1.
    """

    source: str
    users: Sequence[str]
    items: Sequence[str]
    stamps: NDArray[np.float64] | None
    lines: Sequence[int]


def read_events(path: str | Path, columns: Sequence[Column] | None = None) -> Events:
    """Read a plain or gzipped text file with cells separated by ``::``, tabs, commas or blanks.

    Which of them it is shows in the first line, and all lines must then have as many cells as the first. A
    first line that names the column of users, or none of whose ids, ratings and time stamps is a number, is a
    header. Empty lines are left out. Ids are text: ``7`` and ``07`` are two users.

    Args:
        path: The file, in UTF-8.
        columns: What the columns are; ``user item [rating] [timestamp]`` by default. Further ones are unused.

    Raises:
        DataError: If the file does not hold what it should; file and line are named.
    """
    path = Path(path)
    lines = read_lines(path)
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line and not line.isspace()]
    if not numbered:
        raise DataError(f"{path} is empty: it has no interactions")
    rows = list(_cells(path, numbered))
    width = len(rows[0])
    for (number, line), row in zip(numbered, rows, strict=True):
        if len(row) != width:
            raise DataError(
                f"{path}, line {number}: {len(row)} cells, but line {numbered[0][0]} has {width}: {line!r}"
            )
    names = _names(path, width, columns)
    numbers = [number for number, _ in numbered]
    if _is_header(rows[0], names):
        rows, numbers = rows[1:], numbers[1:]
        if not rows:
            raise DataError(f"{path} has a header and no interactions")
    by_name = dict(zip(names, zip(*rows, strict=True), strict=False))
    for name in ("user", "item"):
        check_ids(path, name, by_name[name], numbers)
    _check_ratings(path, by_name, numbers)
    stamps = by_name.get("timestamp")
    times = None if stamps is None else _numbers(path, "timestamp", stamps, numbers)
    return Events(str(path), by_name["user"], by_name["item"], times, numbers)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a plain or gzipped text file.

    Raises:
        DataError: If it cannot be read, or is not UTF-8.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: not UTF-8 ({error.reason})") from error


def _cells(path: Path, numbered: Sequence[tuple[int, str]]) -> Iterator[list[str]]:
    first = numbered[0][1]
    separator = next((mark for mark in ("::", "\t", ",") if mark in first), None)
    if separator != ",":
        return (_stripped(line.split(separator)) for _, line in numbered)
    return _quoted(path, numbered)


def _quoted(path: Path, numbered: Sequence[tuple[int, str]]) -> Iterator[list[str]]:
    for number, line in numbered:
        if '"' not in line:
            yield _stripped(line.split(","))
            continue
        try:
            yield _stripped(next(csv.reader([line], strict=True)))
        except csv.Error as error:
            raise DataError(f"{path}, line {number}: {error}: {line!r}") from error


def _stripped(cells: list[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _names(path: Path, width: int, columns: Sequence[Column] | None) -> list[str]:
    names: list[str] = list(columns or COLUMNS[: max(width, 2)])
    if len(set(names)) < len(names) or not {"user", "item"} <= set(names) <= set(COLUMNS):
        raise DataError(
            f"columns must be user, item and perhaps rating and timestamp, once each, not {names}"
        )
    if width < len(names):
        raise DataError(
            f"{path} has {width} {'cell' if width == 1 else 'cells'} a line, parted by '::', tabs, commas or "
            f"blanks; wanted: {' '.join(names) if columns else 'user item [rating] [timestamp]'}"
        )
    return names


def _is_header(row: Sequence[str], names: Sequence[str]) -> bool:
    named = dict(zip(names, row, strict=False))
    numeric = [_number(named[name]) for name in ("rating", "timestamp") if name in named]
    if any(number is not None for number in numeric):
        return False
    user = named["user"].lower().partition(":")[0]
    return user in USER_HEADERS or (bool(numeric) and not named["user"].isdigit())


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def check_ids(path: Path, name: str, ids: Sequence[str], lines: Sequence[int]) -> None:
    """Raise if an id is empty or negative.

    Raises:
        DataError: With file and line of the first such id.
    """
    # Check each distinct id once.
    bad = {key for key in set(ids) if not key or re.fullmatch(r"-\d+", key)}
    if bad:
        where = next(place for place, key in enumerate(ids) if key in bad)
        what = "empty" if not ids[where] else f"negative: {ids[where]}"
        raise DataError(f"{path}, line {lines[where]}: the {name} is {what}")


def _check_ratings(path: Path, by_name: dict[str, tuple[str, ...]], lines: Sequence[int]) -> None:
    if "rating" not in by_name:
        return
    ratings = _numbers(path, "rating", by_name["rating"], lines)
    if "timestamp" not in by_name and ratings.min() > LOOKS_LIKE_TIME:
        raise DataError(
            f"{path}: the third column, {by_name['rating'][0]} in line {lines[0]}, looks like a time stamp "
            "and not like a rating: set --data.columns '[user, item, timestamp]' (or '[user, item]')"
        )


def _numbers(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> NDArray[np.float64]:
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([_number(cell) if _number(cell) is not None else np.nan for cell in cells])
    finite = np.isfinite(values)
    if not finite.all():
        where = int((~finite).argmax())
        raise DataError(f"{path}, line {lines[where]}: the {name} is no number: {cells[where]!r}")
    return values
