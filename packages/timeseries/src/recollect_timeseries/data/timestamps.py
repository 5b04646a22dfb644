"""Timestamps as files and flags write them."""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect.training.tables import MISSING, kind_of

YEARS = (1678, 2261)
"""Years that fit into 64-bit nanoseconds."""

_OFFSET = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)$")
_DATE_NUMBER = re.compile(r"\d{4}|\d{8}")
EpochUnit = Literal["s", "ms", "us", "ns"]

_EPOCH_UNITS: tuple[tuple[EpochUnit, float, float], ...] = (
    ("s", 5e8, 5e9),
    ("ms", 5e11, 5e12),
    ("us", 5e14, 5e15),
    ("ns", 5e17, 5e18),
)


def parse_stamps(
    path: str, name: str, cells: Sequence[str], lines: Sequence[int], form: str | None = None
) -> pd.DatetimeIndex:
    """Parse a column of timestamps.

    They are ISO 8601, numbers since 1970 (seconds to nanoseconds, by their size), or of the given format.
    Times with an offset become UTC. Where offsets change, as with summer time, and the local times are
    evenly spaced but UTC is not (local midnights), they stay local.

    Args:
        path: The file, in messages.
        name: The column.
        cells: Its cells.
        lines: The line of each.
        form: ``strptime`` format.

    Raises:
        DataError: If a cell is not a timestamp, or before 1678 or after 2261; the message names its line.
    """
    text = pd.Series(list(cells), dtype=str)
    stamps = _parse(text, form)
    years = stamps.year.to_numpy()
    bad = np.flatnonzero(stamps.isna() | (years < YEARS[0]) | (years > YEARS[1]))
    if len(bad):
        raise DataError(f"{path}, line {lines[bad[0]]}, column {name!r}: {_problem(text.iloc[bad[0]], form)}")
    stamps = stamps.as_unit("ns")
    offsets = {found.group() if (found := _OFFSET.search(cell)) else "" for cell in text}
    if form is None and len(offsets) > 1:
        local = _parse(text.str.replace(_OFFSET, "", regex=True), form).as_unit("ns")
        if _are_even(local) and not _are_even(stamps):
            return local
    return stamps


def parse_setting(flag: str, given: str, form: str | None = None) -> pd.Timestamp:
    """Parse a timestamp of the command line, in the file's format or ISO 8601.

    Raises:
        ArgumentError: If it is neither.
    """
    for tried in dict.fromkeys((form, None)):
        stamps = _parse(pd.Series([given], dtype=str), tried)
        if not stamps.isna().any():
            return stamps[0]
    raise ArgumentError(f"{flag} {given!r} is no time stamp, read {_reading(form)}")


def looks_like_times(cells: Sequence[str]) -> bool:
    """Whether all cells are dates, years, or numbers since 1970.

    Example:
        >>> looks_like_times(["2020-01-31 12:00"]), looks_like_times(["1959"]), looks_like_times(["0.5"])
        (True, True, False)
    """
    return (
        kind_of(cells) == "time" or all(map(_DATE_NUMBER.fullmatch, cells)) or _epoch_unit(cells) is not None
    )


def _parse(text: "pd.Series[str]", form: str | None) -> pd.DatetimeIndex:
    unit = None if form else _epoch_unit(text.tolist())
    if unit is not None:
        number = text.astype(np.float64) if text.str.contains(r"[.eE]").any() else text.astype(np.int64)
        return pd.DatetimeIndex(pd.to_datetime(number, unit=unit, utc=True)).tz_localize(None)
    stamps = pd.to_datetime(text, format=form or "ISO8601", errors="coerce", utc=True)
    return pd.DatetimeIndex(stamps).tz_localize(None)


def _epoch_unit(cells: Sequence[str]) -> EpochUnit | None:
    if kind_of(cells) != "number":
        return None
    values = np.array([np.nan if cell.lower() in MISSING else float(cell) for cell in cells])
    fitting = [unit for unit, low, high in _EPOCH_UNITS if ((values > low) & (values < high)).all()]
    return fitting[0] if fitting else None


def _are_even(stamps: pd.DatetimeIndex) -> bool:
    """Whether all steps are whole multiples of the shortest one."""
    steps = np.diff(np.sort(np.asarray(stamps.asi8, dtype=np.int64)))
    return bool(len(steps)) and bool(steps.min() > 0) and not (steps % steps.min()).any()


def _problem(cell: str, form: str | None) -> str:
    year = re.match(r"-?\d{4,}(?=-)", cell)
    if year and not YEARS[0] <= int(year.group()) <= YEARS[1]:
        return f"{cell!r} is not in the years {YEARS[0]} to {YEARS[1]}"
    return f"{cell!r} is no time stamp, read {_reading(form)}"


def _reading(form: str | None) -> str:
    return f"by --data.time_format {form!r}" if form else "as ISO 8601; --data.time_format says otherwise"
