"""Time stamps as numbers of steps, and back."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ticks = NDArray[np.int64]


class Calendar(NamedTuple):
    """An even grid of time: tick i is ``start`` plus i steps.

    Attributes:
        start: The stamp of tick 0.
        step: A fixed span of time in nanoseconds; 0 where ``months`` says it.
        months: Calendar months in a step (12 for a year), where a step is no fixed span of time.

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

    @classmethod
    def infer(cls, stamps: pd.DatetimeIndex) -> "Calendar":
        """The grid whose step is the most frequent one of rising ``stamps``, the shorter of equals.

        Raises:
            ValueError: If there are fewer than two stamps.
        """
        if len(stamps) < 2:
            raise ValueError(f"a step of time needs two stamps, got {len(stamps)}")
        start = stamps[0].isoformat()
        numbers = np.unique(np.diff(_months(stamps)))
        if _same_day(stamps) and numbers[0] >= 1:
            steps, counts = np.unique(np.diff(_months(stamps)), return_counts=True)
            return cls(start, 0, int(steps[counts.argmax()]))
        spans, counts = np.unique(np.diff(_nanoseconds(stamps)), return_counts=True)
        return cls(start, int(spans[counts.argmax()]), 0)

    def ticks(self, stamps: pd.DatetimeIndex) -> NDArray[np.float64]:
        """Steps from the start, a whole number where a stamp lies on the grid."""
        if self.months:
            first = _months(pd.DatetimeIndex([self.start]))[0]
            whole: NDArray[np.float64] = (_months(stamps) - first) / self.months
            on_grid = _nanoseconds(stamps) == _nanoseconds(self.stamps(np.floor(whole).astype(np.int64)))
            return np.where(on_grid, whole, np.floor(whole) + 0.5)
        begin = _nanoseconds(pd.DatetimeIndex([self.start]))[0]
        spans: NDArray[np.float64] = (_nanoseconds(stamps) - begin) / self.step
        return spans

    def stamps(self, ticks: Ticks) -> pd.DatetimeIndex:
        """The stamps of ticks; the last day of a month stays the last day."""
        start = pd.Timestamp(self.start)
        if not self.months:
            return pd.DatetimeIndex(start + pd.to_timedelta(ticks * self.step, unit="ns"))
        moved = pd.DatetimeIndex([start + pd.DateOffset(months=int(tick) * self.months) for tick in ticks])
        return moved + pd.offsets.MonthEnd(0) if start.is_month_end else moved

    def describe(self) -> str:
        """The step as a person would name it."""
        if self.months:
            return f"{self.months} months" if self.months > 1 else "a month"
        return str(pd.Timedelta(self.step, unit="ns"))


def _months(stamps: pd.DatetimeIndex) -> Ticks:
    return np.asarray(stamps.year * 12 + stamps.month, dtype=np.int64)


def _nanoseconds(stamps: pd.DatetimeIndex) -> Ticks:
    return np.asarray(stamps.as_unit("ns").asi8, dtype=np.int64)


def _same_day(stamps: pd.DatetimeIndex) -> bool:
    """Whether all stamps are at one time of one day of the month, or of its last day."""
    times = _nanoseconds(stamps) - _nanoseconds(stamps.normalize())
    one_day = len(np.unique(stamps.day)) == 1 or bool(stamps.is_month_end.all())
    return one_day and len(np.unique(times)) == 1
