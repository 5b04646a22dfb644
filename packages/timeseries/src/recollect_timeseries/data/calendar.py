"""Conversion between timestamps and step numbers."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ticks = NDArray[np.int64]


class Calendar(NamedTuple):
    """An evenly spaced time grid: tick i is ``start`` plus i steps.

    Attributes:
        start: Timestamp of tick 0.
        step: Step in nanoseconds; 0 if ``months`` is set.
        months: Calendar months per step (12 for a year); 0 for a fixed step.
        day: Day of the month of each tick, or its last day where a month is shorter; 0 for a fixed step.

    Example:
        >>> calendar = Calendar.infer(pd.to_datetime(["2020-01-31", "2020-02-29", "2020-04-30"]))
        >>> calendar.ticks(pd.to_datetime(["2020-03-31", "2020-05-31"])).tolist()
        [2.0, 4.0]
        >>> str(calendar.stamps(np.array([2]))[0])
        '2020-03-31 00:00:00'
    """

    start: str
    step: int
    months: int
    day: int = 0

    @classmethod
    def infer(cls, stamps: pd.DatetimeIndex) -> "Calendar":
        """Infer the grid of increasing ``stamps``: the most frequent step, the shorter one on a tie.

        Raises:
            ValueError: If there are fewer than two stamps.
        """
        if len(stamps) < 2:
            raise ValueError(f"a step of time needs two stamps, got {len(stamps)}")
        start = stamps[0].isoformat()
        day = _day_of_month(stamps)
        numbers, counts = np.unique(np.diff(_months(stamps)), return_counts=True)
        if day and numbers[0] >= 1:
            return cls(start, 0, int(numbers[counts.argmax()]), day)
        spans, counts = np.unique(np.diff(_nanoseconds(stamps)), return_counts=True)
        return cls(start, int(spans[counts.argmax()]), 0)

    def ticks(self, stamps: pd.DatetimeIndex) -> NDArray[np.float64]:
        """Return the steps since the start; whole numbers lie on the grid."""
        if self.months:
            first = _months(pd.DatetimeIndex([self.start]))[0]
            whole: NDArray[np.float64] = (_months(stamps) - first) / self.months
            on_grid = _nanoseconds(stamps) == _nanoseconds(self.stamps(np.floor(whole).astype(np.int64)))
            return np.where(on_grid, whole, np.floor(whole) + 0.5)
        begin = _nanoseconds(pd.DatetimeIndex([self.start]))[0]
        spans: NDArray[np.float64] = (_nanoseconds(stamps) - begin) / self.step
        return spans

    def stamps(self, ticks: Ticks) -> pd.DatetimeIndex:
        """Return the timestamps of ticks; month ends stay month ends."""
        start = pd.Timestamp(self.start)
        if not self.months:
            return pd.DatetimeIndex(start + pd.to_timedelta(ticks * self.step, unit="ns"))
        begin, time = start.normalize().replace(day=1), start - start.normalize()
        firsts = [begin + pd.DateOffset(months=int(tick) * self.months) for tick in ticks]
        days = [pd.Timedelta(days=min(self.day, first.days_in_month) - 1) for first in firsts]
        return pd.DatetimeIndex([first + day + time for first, day in zip(firsts, days, strict=True)])

    def describe(self) -> str:
        """Return the step in words."""
        if self.months:
            return f"{self.months} months" if self.months > 1 else "a month"
        return str(pd.Timedelta(self.step, unit="ns"))


def _months(stamps: pd.DatetimeIndex) -> Ticks:
    return np.asarray(stamps.year * 12 + stamps.month, dtype=np.int64)


def _nanoseconds(stamps: pd.DatetimeIndex) -> Ticks:
    return np.asarray(stamps.as_unit("ns").asi8, dtype=np.int64)


def _day_of_month(stamps: pd.DatetimeIndex) -> int:
    """The day of the month that all timestamps share, 31 for month ends; 0 if days or times differ."""
    times = _nanoseconds(stamps) - _nanoseconds(stamps.normalize())
    day = 31 if bool(stamps.is_month_end.all()) else int(stamps.day.max())
    shared = (stamps.day == np.minimum(day, stamps.days_in_month)).all() and len(np.unique(times)) == 1
    return day if shared else 0
