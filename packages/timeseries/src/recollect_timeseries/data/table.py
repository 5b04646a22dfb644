"""Strict reading of CSV files with timestamps and numbers."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recollect.training import DataError

MISSING = ("", "na", "n/a", "nan", "null", "none")
"""Markers of a missing value, case-insensitive."""


class Table(NamedTuple):
    """The rows of a file, in order.

    Attributes:
        path: The file.
        stamps: T timestamps.
        columns: Names of the C columns of numbers.
        values: ``(T, C)`` float64, NaN where a cell is empty.
        lines: ``(T,)`` line number of each row.
    """

    path: Path
    stamps: pd.DatetimeIndex
    columns: list[str]
    values: NDArray[np.float64]
    lines: NDArray[np.int64]


def read_table(
    path: Path,
    time: str | None = None,
    columns: Sequence[str] | None = None,
    time_format: str | None = None,
    separator: str = ",",
) -> Table:
    """Read timestamps and numbers from a UTF-8 CSV file with a header.

    Args:
        path: The file.
        time: Name of the time column; the first one by default.
        columns: Names of the value columns; all others by default.
        time_format: ``strptime`` format (``"%d/%m/%Y %H:%M"``); ISO 8601 by default.
        separator: Cell separator.

    Raises:
        DataError: If the file is malformed; the message names file, line and column.
    """
    cells = read_cells(path, separator)
    header = [str(name) for name in cells.columns]
    time = header[0] if time is None else time
    wanted = [name for name in header if name != time] if columns is None else list(columns)
    for name in (time, *wanted):
        if name not in header:
            raise DataError(f"{path} has no column {name!r}; it has: {', '.join(header)}")
    if not wanted:
        raise DataError(f"{path} has no column besides the time column {time!r}")
    lines = cells.index.to_numpy(dtype=np.int64) + 2  # the header is line 1
    stamps = parse_stamps(path, cells[time], lines, time_format)
    values = np.column_stack([parse_numbers(path, cells[name], lines) for name in wanted])
    return Table(path, stamps, wanted, values, lines)


def read_cells(path: Path, separator: str) -> pd.DataFrame:
    """Read all cells as text without blank rows; index i means that the row ends on line i + 2.

    Raises:
        DataError: If the file is malformed.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, strict=True)
            rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if len(rows) < 2:
        raise DataError(f"{path} has no rows" if rows else f"{path} is empty")
    header = [name.strip() for name in rows[0][1]]
    for name in header:
        if not name or header.count(name) > 1:
            raise DataError(f"{path}, line {rows[0][0]}: {header.count(name)} columns are called {name!r}")
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            raise DataError(f"{path}, line {line}: {len(cells)} cells where the header names {len(header)}")
    index = [line - 2 for line, _ in rows[1:]]
    return pd.DataFrame([cells for _, cells in rows[1:]], index, header, dtype=str)


def parse_stamps(
    path: Path, cells: "pd.Series[str]", lines: NDArray[np.int64], form: str | None
) -> pd.DatetimeIndex:
    """Parse a column of timestamps to UTC.

    Raises:
        DataError: If a cell is not a timestamp; the message names its line.
    """
    text = cells.str.strip()
    stamps = pd.to_datetime(text, format=form or "ISO8601", errors="coerce", utc=True)
    bad = np.flatnonzero(stamps.isna())
    if len(bad):
        how = (
            "by --data.time_format " + repr(form)
            if form
            else "as ISO 8601; --data.time_format says otherwise"
        )
        raise DataError(
            f"{path}, line {lines[bad[0]]}, column {cells.name!r}: {text.iloc[bad[0]]!r} is no time stamp, "
            f"read {how}"
        )
    return pd.DatetimeIndex(stamps).tz_localize(None)


def parse_numbers(path: Path, cells: "pd.Series[str]", lines: NDArray[np.int64]) -> NDArray[np.float64]:
    """Parse a column of numbers; empty cells become NaN.

    Raises:
        DataError: If a cell is neither empty nor a finite number; the message names its line.
    """
    text = cells.str.strip()
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, copy=True)
    missing = text.str.lower().isin(MISSING).to_numpy()
    bad = np.flatnonzero(~np.isfinite(numbers) & ~missing)
    if len(bad):
        raise DataError(
            f"{path}, line {lines[bad[0]]}, column {cells.name!r}: {text.iloc[bad[0]]!r} is no finite "
            "number; --data.columns names the columns to take"
        )
    numbers[missing] = np.nan
    return numbers
