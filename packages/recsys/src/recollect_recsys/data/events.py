"""Files of interactions: ``user item [rating] [timestamp]``, one per line."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recollect.training import DataError
from recollect.training.tables import (
    COLUMN_NAMES,
    MISSING,
    Table,
    find_roles,
    kind_of,
    normalize_name,
    read_table,
)

Column = Literal["user", "item", "rating", "timestamp", "skip"]

COLUMNS: tuple[Column, ...] = ("user", "item", "rating", "timestamp")
"""Columns of a file whose header does not name them."""

EPOCH_SECONDS = (5e8, 5e9)
"""Seconds since 1970, or a thousand times as many milliseconds, between 1985 and 2128."""

SEPARATOR_NAMES = {"\t": "tabs", " ": "blanks"}


class Events(NamedTuple):
    """Interactions in the order of a file.

    Attributes:
        source: Origin in messages.
        users: User of each event.
        items: Item of each event.
        stamps: Time of each event; ``None`` if the file is in order of time.
        lines: Line number of each event, from 1.
        note: Which column was read as what.
    """

    source: str
    users: Sequence[str]
    items: Sequence[str]
    stamps: NDArray[np.float64] | None
    lines: Sequence[int]
    note: str = ""


def read_events(
    path: str | Path, columns: Sequence[Column] | None = None, separator: str | None = None
) -> Events:
    """Read a plain or gzipped text file; see ``read_table`` for separators and quotes.

    A header tells which column is which by the names of ``COLUMN_NAMES``: ``userId``, ``visitorid``,
    ``parent_asin`` and so on. Without such names the columns are ``user item [rating] [timestamp]``. Ids are
    text: ``7`` and ``07`` are two users. Timestamps are numbers or ISO 8601.

    Args:
        path: The file.
        columns: Roles of the first columns, from the left; ``skip`` for those that are not used. By default
            the header decides.
        separator: What stands between the cells; recognised by default.

    Raises:
        DataError: If the file is malformed, or its columns cannot be told; file and line are named.
    """
    table = read_table(Path(path), separator)
    if columns is not None:
        _check_columns(columns)
    if table.width < max(2, len(columns or ())):
        cells = f"{table.width} {'cell' if table.width == 1 else 'cells'} a line"
        raise DataError(
            f"{table.path} has {cells}, separated by '::', tabs, commas, semicolons or blanks; expected "
            f"{' '.join(columns) if columns else 'user item [rating] [timestamp]'}"
        )
    places = _places(table, columns)
    by_role = {role: [row[place] for row in table.rows] for role, place in places.items()}
    for role in ("user", "item"):
        check_ids(table.path, role, by_role[role], table.lines)
    if columns is None:
        _check_for_times(table, places, by_role)
    if "rating" in by_role:
        _numbers(table, "rating", by_role["rating"])
    stamps = _stamps(table, by_role["timestamp"]) if "timestamp" in by_role else None
    return Events(table.path, by_role["user"], by_role["item"], stamps, table.lines, _note(table, places))


def check_ids(path: str, role: str, ids: Sequence[str], lines: Sequence[int]) -> None:
    """Raise if an id is empty, a marker of a missing value, or a negative number.

    Raises:
        DataError: With file and line of the first such id.
    """
    # Check each distinct id once. ``NA`` may be an id; ``null`` and ``NaN`` come from missing values.
    bad = {key for key in set(ids) if key.lower() in MISSING - {"na"} or re.fullmatch(r"-\d+", key)}
    if bad:
        where = next(place for place, key in enumerate(ids) if key in bad)
        key = ids[where]
        what = "empty" if not key else f"negative: {key}" if key[0] == "-" else f"missing: {key!r}"
        raise DataError(f"{path}, line {lines[where]}: the {role} is {what}")


def _check_columns(columns: Sequence[Column]) -> None:
    named = [name for name in columns if name != "skip"]
    if len(set(named)) < len(named) or not {"user", "item"} <= set(named) <= set(COLUMNS):
        raise DataError(
            "--data.columns must be user, item and perhaps rating and timestamp, once each, and skip for "
            f"others, not {list(columns)}"
        )


def _places(table: Table, columns: Sequence[Column] | None) -> dict[str, int]:
    """The column of each role, by ``columns``, by the header, or from the left."""
    try:
        named = find_roles(table.header, COLUMNS) if table.header and columns is None else {}
    except ValueError as error:
        raise DataError(
            f"{table.path}, line 1: {error}; --data.columns says which column is which"
        ) from error
    if "user" in named and "item" in named:
        return named
    assumed: Sequence[str] = columns or COLUMNS[: table.width]
    places = {role: place for place, role in enumerate(assumed) if role != "skip"}
    if table.header is not None:
        _check_conflicts(table, table.header, places)
    return places


def _check_conflicts(table: Table, header: Sequence[str], places: dict[str, int]) -> None:
    """Raise if the header calls a column something else than what it is about to be read as."""
    for place, name in enumerate(map(normalize_name, header)):
        read_as = next((role for role, own in places.items() if own == place), None)
        called = [role for role in COLUMNS if name in COLUMN_NAMES[role]]
        if called and read_as not in called and (read_as is not None or called[0] not in places):
            raise DataError(
                f"{table.path}, line 1: column {place + 1} is called {header[place]!r}, but would be read as "
                f"{read_as or 'nothing'}; --data.columns says which column is which, for instance "
                f"'[user, item, timestamp]'; the header is {', '.join(map(repr, header))}"
            )


def _check_for_times(table: Table, places: dict[str, int], by_role: dict[str, list[str]]) -> None:
    """Raise if a column that is read as something else can only be times."""
    if table.header is not None and "timestamp" in find_roles(table.header, ["timestamp"]):
        return
    timed = _are_epochs(by_role.get("timestamp", []))
    for role in ("user", "item", "rating"):
        cells = by_role.get(role, [])
        # Long numbers may be users, and items of a file with two columns.
        numeric = not timed and (role == "rating" or (role == "item" and table.width > 2))
        if kind_of(cells) == "time" or (numeric and _are_epochs(cells)):
            raise DataError(
                f"{table.path}: column {places[role] + 1}, {cells[0]!r} in line {table.lines[0]}, looks like "
                f"time stamps, not like the {role}: --data.columns says which column is which, for instance "
                "'[user, item, timestamp]' or '[user, timestamp, item]'"
            )


def _are_epochs(cells: Sequence[str]) -> bool:
    if not cells or kind_of(cells) != "number":
        return False
    low, high = EPOCH_SECONDS
    values = np.array([_number(cell) for cell in cells])  # NaN for a missing cell, which is no time
    return any(bool(((values > low * unit) & (values < high * unit)).all()) for unit in (1, 1000))


def _stamps(table: Table, cells: Sequence[str]) -> NDArray[np.float64]:
    """Seconds since 1970 of ISO 8601 times, those without a time zone in UTC; numbers as they are."""
    if kind_of(cells[:1]) == "number":
        return _numbers(table, "timestamp", cells)
    stamps = np.empty(len(cells))
    for place, cell in enumerate(cells):
        try:
            time = datetime.fromisoformat(cell)
        except ValueError as error:
            raise DataError(
                f"{table.path}, line {table.lines[place]}: the timestamp is neither a number nor ISO 8601: "
                f"{cell!r}"
            ) from error
        stamps[place] = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return stamps


def _numbers(table: Table, role: str, cells: Sequence[str]) -> NDArray[np.float64]:
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([_number(cell) for cell in cells])
    finite = np.isfinite(values)
    if not finite.all() or any("_" in cell for cell in cells):
        where = next(i for i, cell in enumerate(cells) if not finite[i] or "_" in cell)
        raise DataError(f"{table.path}, line {table.lines[where]}: the {role} is no number: {cells[where]!r}")
    return values


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _note(table: Table, places: dict[str, int]) -> str:
    """Which column was read as what."""
    named = [
        f"{role} = {f'column {place + 1}' if table.header is None else repr(table.header[place])}"
        for role, place in places.items()
    ]
    mark = SEPARATOR_NAMES.get(table.separator, repr(table.separator))
    header = "without a header" if table.header is None else "with a header"
    return f"{table.path}: {', '.join(named)}; {header}, separated by {mark}"
