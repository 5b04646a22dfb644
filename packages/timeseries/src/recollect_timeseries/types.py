"""Batches shared by data, models, tasks and figures."""

from typing import NamedTuple

from torch import Tensor


class WindowBatch(NamedTuple):
    """A batch of windows.

    Attributes:
        past: ``(B, L, C)`` scaled past values.
        future: ``(B, H, C)`` scaled future values; NaN if unknown.
        clock: ``(B,)`` int64, the first forecast step, counted from the start of the training data.
        item: ``(B,)`` int64, index of the window in its split.
    """

    past: Tensor
    future: Tensor
    clock: Tensor
    item: Tensor


class SeriesBatch(NamedTuple):
    """One channel to score, scaled.

    Attributes:
        values: ``(1, T, C)``.
        context: ``(1, P, C)``, the preceding steps; P may be 0.
        label: ``(1, T)`` bool, all false if unknown.
        channel: ``(1,)`` int64, index of the channel.
    """

    values: Tensor
    context: Tensor
    label: Tensor
    channel: Tensor
