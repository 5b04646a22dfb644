"""A multivariate series on an evenly spaced time grid."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recollect_timeseries.data.calendar import Calendar


class Series(NamedTuple):
    """One or several variables over T evenly spaced steps.

    Attributes:
        name: Name in messages, usually a file.
        calendar: The time grid.
        first: Tick of the first step on that grid.
        columns: Names of the C variables.
        values: ``(T, C)`` float64, without gaps.
    """

    name: str
    calendar: Calendar
    first: int
    columns: list[str]
    values: NDArray[np.float64]
