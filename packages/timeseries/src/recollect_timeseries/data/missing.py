"""From rows to an evenly spaced series: order, duplicates, missing timestamps and values."""

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
    """Sort rows by time and fill gaps, with warnings.

    Timestamps missing from the grid count as missing values. ``"interpolate"`` fills them linearly (at the
    ends, with the nearest value), ``"previous"`` with the previous value.

    Args:
        table: The rows of a file.
        fill: How to fill missing values; ``"error"`` raises instead.
        longest_gap: Largest number of consecutive steps to fill.

    Raises:
        DataError: If a timestamp is repeated or off the grid, a gap is too long or must not be filled, or a
            column is empty. The message names file, line and column.
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
    """Return starts and lengths of runs of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return edges[::2], edges[1::2] - edges[::2]


def _filled(values: NDArray[np.float64], fill: Fill) -> NDArray[np.float64]:
    frame = pd.DataFrame(values)
    full = frame.ffill() if fill == "previous" else frame.interpolate(limit_direction="both")
    return full.to_numpy()
