"""A series: stamps, columns and values on an even grid of time."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recollect_timeseries.data.calendar import Calendar


class Series(NamedTuple):
    """One or several variables over T steps of an even grid of time.

    Attributes:
        name: What it is called in messages: a file, mostly.
        calendar: The grid.
        first: Tick of the first step on that grid.
        columns: Names of the C variables.
        values: ``(T, C)`` float64, without gaps.
    """

    name: str
    calendar: Calendar
    first: int
    columns: list[str]
    values: NDArray[np.float64]
