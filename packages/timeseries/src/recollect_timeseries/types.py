"""Batches, known to data, models, tasks and figures."""

from typing import NamedTuple

from torch import Tensor


class WindowBatch(NamedTuple):
    """A batch of windows.

    Attributes:
        past: ``(B, L, C)`` scaled values looked back on.
        future: ``(B, H, C)`` scaled values to be forecast; NaN where they are not known.
        clock: ``(B,)`` int64, the first step that is forecast, in steps since training data began.
        item: ``(B,)`` int64, the window's number in its split.
    """

    past: Tensor
    future: Tensor
    clock: Tensor
    item: Tensor


class SeriesBatch(NamedTuple):
    """One channel to be judged, scaled.

    Attributes:
        values: ``(1, T, C)``.
        context: ``(1, P, C)``, the preceding steps; P may be 0.
        label: ``(1, T)`` bool, all false where nobody knows.
        channel: ``(1,)`` int64, its number.
    """

    values: Tensor
    context: Tensor
    label: Tensor
    channel: Tensor
