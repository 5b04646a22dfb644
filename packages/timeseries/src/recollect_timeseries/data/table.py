"""Text tables of numbers over time."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recollect.training import DataError, tables
from recollect.training.tables import MISSING, find_roles
from recollect_timeseries.data.timestamps import looks_like_times, parse_stamps

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


class Cells(NamedTuple):
    """The cells of a file by column.

    Attributes:
        path: The file, in messages.
        columns: Cells of each named column; ``"column 1"`` and so on if the file has no header.
        lines: ``(T,)`` line number of each row.
        separator: What stands between the cells.
        roles: Names of the columns of ``"timestamp"``, ``"series"`` and ``"label"`` as the header tells them.
    """

    path: str
    columns: dict[str, list[str]]
    lines: NDArray[np.int64]
    separator: str
    roles: dict[str, str]

    def require(self, *names: str) -> None:
        """Raise if there is no such column.

        Raises:
            DataError: With the names of the columns.
        """
        for name in names:
            if name not in self.columns:
                raise DataError(f"{self.path} has no column {name!r}; it has: {', '.join(self.columns)}")

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Parse a column of numbers; missing ones become NaN. See ``parse_numbers``."""
        return parse_numbers(self.path, name, self.columns[name], self.lines, self.separator)


class Table(NamedTuple):
    """The rows of a file, in order.

    Attributes:
        path: The file.
        stamps: T timestamps.
        columns: Names of the C columns of numbers.
        values: ``(T, C)`` float64, NaN where a cell is empty.
        lines: ``(T,)`` line number of each row.
        note: Which column was read as what.
    """

    path: Path
    stamps: pd.DatetimeIndex
    columns: list[str]
    values: NDArray[np.float64]
    lines: NDArray[np.int64]
    note: str = ""


def read_table(
    path: Path,
    time: str | None = None,
    columns: Sequence[str] | None = None,
    time_format: str | None = None,
    separator: str | None = None,
    header: bool | None = None,
    step: str | None = None,
) -> Table:
    """Read timestamps and numbers from a text file.

    A column called ``unique_id`` or ``series_id`` makes it a long table; each of its series becomes a column.

    Args:
        path: The file.
        time: Name of the time column; by default the one called ``time``, ``date``, ``ds`` and so on, else
            the first.
        columns: Names of the value columns; all others by default.
        time_format: ``strptime`` format (``"%d/%m/%Y %H:%M"``); ISO 8601 by default.
        separator: Cell separator; recognised by default.
        header: Whether the first row names the columns; recognised by default.
        step: Time between rows (``"1h"``) of a file without a time column; rows are numbered from
            2000-01-01.

    Raises:
        DataError: If the file is malformed; the message names file, line and column.
    """
    cells = read_cells(path, separator, header, ["series"] if time or step else ["timestamp", "series"])
    if step is None:
        time = _time_column(cells, time)
    series = cells.roles.get("series") if step is None else None
    other = [name for name in cells.columns if name and name not in (time, series)]
    wanted = other if columns is None else list(columns)
    cells.require(*wanted)
    if not wanted:
        raise DataError(f"{path} has no column besides the time column {time!r}")
    values = np.column_stack([cells.numbers(name) for name in wanted])
    note = f"{path}: time = {f'rows of {step}' if time is None else repr(time)}, values = {shortened(wanted)}"
    if time is None:
        stamps = pd.date_range("2000-01-01", periods=len(values), freq=step, unit="ns")
        return Table(path, stamps, wanted, values, cells.lines, note)
    stamps = parse_stamps(cells.path, time, cells.columns[time], cells.lines.tolist(), time_format)
    if series is None:
        return Table(path, stamps, wanted, values, cells.lines, note)
    return _by_series(Table(path, stamps, wanted, values, cells.lines, note), cells, series)


def read_cells(path: Path, separator: str | None, header: bool | None, roles: Sequence[str]) -> Cells:
    """Read all cells as text; see ``recollect.training.tables.read_table``.

    Args:
        path: The file.
        separator: Cell separator; ``None`` to recognise it.
        header: Whether the first row names the columns; ``None`` to recognise it.
        roles: What to find among the names of the columns.

    Raises:
        DataError: If the file is malformed, or several columns may be the time.
    """
    table = tables.read_table(path, separator, header)
    names = table.header or [f"column {place + 1}" for place in range(table.width)]
    columns = dict(zip(names, (list(cells) for cells in zip(*table.rows, strict=True)), strict=True))
    try:
        places = find_roles(names, roles) if table.header else {}
    except ValueError as error:
        raise DataError(f"{path}, line 1: {error}; --data.time and --data.label name them") from error
    named = {role: names[place] for role, place in places.items()}
    return Cells(str(path), columns, np.array(table.lines, dtype=np.int64), table.separator, named)


def parse_numbers(
    path: str, name: str, cells: Sequence[str], lines: NDArray[np.int64], separator: str = ","
) -> NDArray[np.float64]:
    """Parse a column of numbers; missing ones become NaN.

    In files separated by ``;`` a comma may be the decimal point.

    Raises:
        DataError: If a cell is neither missing nor a finite number; the message names its line.
    """
    text = pd.Series(list(cells), dtype=str)
    missing = text.str.lower().isin(MISSING).to_numpy()
    if separator == ";" and text[~missing].str.fullmatch(_DECIMAL_COMMA).any():
        text = text.where(text.str.contains(".", regex=False), text.str.replace(",", ".", regex=False))
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, copy=True)
    bad = np.flatnonzero(~np.isfinite(numbers) & ~missing)
    if len(bad):
        raise DataError(
            f"{path}, line {lines[bad[0]]}, column {name!r}: {cells[bad[0]]!r} is no finite number; "
            "--data.columns names the columns to take"
        )
    numbers[missing] = np.nan
    return numbers


def shortened(names: Sequence[str]) -> str:
    """The first names of a list, for a note.

    Example:
        >>> shortened(["a", "b"]), shortened([str(n) for n in range(100)])
        ("'a', 'b'", "'0', '1', '2', '3', '4' and 95 more")
    """
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _time_column(cells: Cells, time: str | None) -> str:
    if time is not None:
        cells.require(time)
        return time
    first = next(iter(cells.columns))
    named = cells.roles.get("timestamp", first)
    if (
        named == first
        and not cells.roles
        and not looks_like_times(cells.columns[first])
        and _is_number(cells.columns[first][0])
    ):
        raise DataError(
            f"{cells.path} has no column of times: --data.time names one, --data.step 1h numbers the rows"
        )
    return named


def _is_number(cell: str) -> bool:
    return cell.lower() in MISSING or tables.to_float(cell) is not None


def _by_series(table: Table, cells: Cells, series: str) -> Table:
    """The columns of a long table, one for each series and value column."""
    frame = pd.DataFrame(table.values, columns=table.columns)
    frame.insert(0, "series", pd.Series(cells.columns[series], dtype=str))
    frame.insert(1, "stamp", table.stamps)
    twice = np.flatnonzero(frame.duplicated(["series", "stamp"]))
    if len(twice):
        row = twice[0]
        raise DataError(
            f"{table.path}, line {table.lines[row]}: {frame['series'].iloc[row]!r} has a row at "
            f"{table.stamps[row]} already"
        )
    first_lines = pd.Series(table.lines).groupby(frame["stamp"]).min()
    wide = frame.pivot(index="stamp", columns="series", values=table.columns)
    pairs = [tuple(map(str, pair)) for pair in wide.columns.to_list()]  # of value column and series
    names = [one if len(table.columns) == 1 else f"{one} {column}" for column, one in pairs]
    return table._replace(
        stamps=pd.DatetimeIndex(wide.index),
        columns=names,
        values=wide.to_numpy(dtype=np.float64),
        lines=first_lines.loc[wide.index].to_numpy(dtype=np.int64),
        note=f"{table.note}, series = {series!r}: {shortened(names)}",
    )
