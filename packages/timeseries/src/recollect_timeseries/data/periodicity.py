"""How long a series takes to repeat itself."""

import numpy as np
from numpy.typing import NDArray

PERIOD_RANGE = (6, 303)
"""Periods that are believed."""

DEFAULT_PERIOD = 125
"""What stands for the period of a series that has none."""


def estimate_period(values: NDArray[np.float64]) -> int:
    """The lag of the highest local maximum of the autocorrelation, 125 where there is none from 6 to 303.

    As TSB-AD (Liu & Paparrizos 2024, NeurIPS) sets the length of subsequences and of the buffer of VUS: of
    the first 20,000 steps, up to a lag of 400.

    Args:
        values: ``(T,)``.

    Example:
        >>> estimate_period(np.sin(2 * np.pi * np.arange(480) / 24))
        24
    """
    values = values[:20_000] - values[:20_000].mean()
    if not np.abs(values).max() > 0:
        return DEFAULT_PERIOD
    spectrum = np.fft.rfft(values, 2 * len(values))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: min(401, len(values))][3:]
    inner = correlation[1:-1]
    peaks = np.flatnonzero((inner > correlation[:-2]) & (inner > correlation[2:])) + 1
    if not len(peaks):
        return DEFAULT_PERIOD
    best = int(peaks[correlation[peaks].argmax()]) + 3
    return best if PERIOD_RANGE[0] <= best <= PERIOD_RANGE[1] else DEFAULT_PERIOD
