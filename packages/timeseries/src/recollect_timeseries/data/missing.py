"""From the rows of a file to an even grid of time: order, doubles, missing stamps and missing values."""

import warnings
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recollect.training import DataError
from recollect_timeseries.data.calendar import Calendar
from recollect_timeseries.data.series import Series
from recollect_timeseries.data.table import Table

Fill = Literal["interpolate", "previous", "error"]


def to_series(table: Table, fill: Fill = "interpolate", longest_gap: int = 24) -> Series:
    """An even series: rows sorted by time, gaps filled, all of it said in warnings.

    Rows that are out of order are sorted. Stamps that are missing from the grid count as missing values, and
    these are filled: ``"interpolate"`` draws a line between their neighbours (at the ends, the nearest value
    is repeated), ``"previous"`` repeats the last value before.

    Args:
        table: What was read.
        fill: How missing values are filled; ``"error"`` allows none.
        longest_gap: Steps in a row that may be filled.

    Raises:
        DataError: If a stamp occurs twice or is off the grid, if a gap is longer than ``longest_gap`` or may
        not
            be filled, or if a column is empty; the message names file, line and column.
    """
    table = _sorted(table)
    path, stamps, lines = table.path, table.stamps, table.lines
    twice = np.flatnonzero(stamps[1:] == stamps[:-1])
    if len(twice):
        row = twice[0]
        raise DataError(
            f"{path}, line {lines[row + 1]}: the stamp {stamps[row]} stands in line {lines[row]} already"
        )
    if len(stamps) < 2:
        raise DataError(f"{path} has one row; a series needs two at least")
    calendar = Calendar.infer(stamps)
    ticks = calendar.ticks(stamps)
    off = np.flatnonzero(ticks != np.round(ticks))
    if len(off):
        raise DataError(
            f"{path}, line {lines[off[0]]}: {stamps[off[0]]} is not a whole number of steps "
            f"({calendar.describe()}, the most frequent one) after {stamps[0]}; stamps must be "
            "evenly spaced: resample the file first"
        )
    places = ticks.astype(np.int64)
    values = np.full((places[-1] + 1, len(table.columns)), np.nan)
    values[places] = table.values
    if np.isnan(values).any():
        _check_gaps(table, calendar, values, fill, longest_gap)
        values = _filled(values, fill)
    return Series(str(path), calendar, 0, table.columns, values)


def _sorted(table: Table) -> Table:
    late = np.flatnonzero(table.stamps[1:] < table.stamps[:-1])
    if not len(late):
        return table
    warnings.warn(
        f"{table.path}, line {table.lines[late[0] + 1]}: {table.stamps[late[0] + 1]} comes after "
        f"{table.stamps[late[0]]}; the rows have been sorted by time",
        stacklevel=3,
    )
    order = np.argsort(table.stamps.asi8, kind="stable")
    return table._replace(stamps=table.stamps[order], values=table.values[order], lines=table.lines[order])


def _check_gaps(
    table: Table, calendar: Calendar, values: NDArray[np.float64], fill: Fill, longest_gap: int
) -> None:
    for column, name in enumerate(table.columns):
        missing = np.isnan(values[:, column])
        if missing.all():
            raise DataError(
                f"{table.path}, column {name!r} is empty; --data.columns names the columns to take"
            )
        starts, lengths = _runs(missing)
        if not len(starts):
            continue
        worst = int(lengths.argmax())
        where = f"{table.path}, column {name!r}"
        begin = calendar.stamps(starts[worst : worst + 1])[0]
        if fill == "error":
            raise DataError(
                f"{where}: {int(missing.sum())} values are missing, {lengths[worst]} of them from {begin} "
                "on; --data.fill interpolate or previous fills them"
            )
        if lengths[worst] > longest_gap:
            raise DataError(
                f"{where}: {lengths[worst]} values in a row are missing from {begin} on (a step is "
                f"{calendar.describe()}), more than --data.longest_gap {longest_gap} allows to fill"
            )
        if fill == "previous" and missing[0]:
            raise DataError(
                f"{where}: there is no value before {begin} to fill with; use --data.fill interpolate"
            )
        warnings.warn(
            f"{where}: {int(missing.sum())} of {len(missing)} values are missing and were filled ({fill}), "
            f"at most {lengths[worst]} in a row, from {begin} on",
            stacklevel=4,
        )


def _runs(missing: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where runs of true begin, and how long they are."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return edges[::2], edges[1::2] - edges[::2]


def _filled(values: NDArray[np.float64], fill: Fill) -> NDArray[np.float64]:
    frame = pd.DataFrame(values)
    full = frame.ffill() if fill == "previous" else frame.interpolate(limit_direction="both")
    return full.to_numpy()
