"""Period of a series."""

import numpy as np
from numpy.typing import NDArray

PERIOD_RANGE = (6, 303)
"""Range of plausible periods."""

DEFAULT_PERIOD = 125
"""Period of a series without a plausible one."""


def estimate_period(values: NDArray[np.float64]) -> int:
    """Return the lag of the highest local maximum of the autocorrelation, or 125 unless it is in [6, 303].

    TSB-AD (Liu & Paparrizos 2024, NeurIPS) uses it as subsequence length and VUS buffer: first 20,000 steps,
    lags up to 400.

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
