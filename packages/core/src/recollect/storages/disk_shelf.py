"""The rows of one space of a table on disk, held in memory and searched exactly."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recollect.ops.distance import Metric, nearest_slots
from recollect.storages.engine import Found
from recollect.storages.lance_table import Array

Fetch = Callable[[Array], tuple[Array, Array]]
"""Reads keys and values of rows by number."""


class Shelf(NamedTuple):
    """Rows in the order of their numbers. A shelf never changes; ``updated`` makes another one.

    Attributes:
        rows: ``(N,)`` int64, numbers.
        keys: ``(N, K)``.
        values: ``(N, V)``.
    """

    rows: Tensor
    keys: Tensor
    values: Tensor

    def search(self, queries: Tensor, k: int, metric: Metric) -> Found:
        """Return the k rows nearest to each query ``(Q, K)``, by an exact search."""
        some = torch.ones(len(self.rows), dtype=torch.bool, device="cpu")
        slots = nearest_slots(queries, self.keys, some, k, metric)
        absent, slots = slots < 0, slots.clamp_min(0)
        if not len(self.rows):
            return nothing_found(slots.shape, self.keys.shape[-1], self.values.shape[-1])
        keys, values = (part[slots].masked_fill(absent.unsqueeze(-1), 0) for part in self[1:])
        return Found(self.rows[slots].masked_fill(absent, -1), keys, values)

    def updated(self, rows: Array, fetch: Fetch) -> "Shelf":
        """Return a shelf with exactly ``rows``, of which only the new ones are read.

        Args:
            rows: ``(N,)`` int64, in order; new ones have higher numbers than the old ones.
            fetch: Reads keys and values.
        """
        old = self.rows.numpy()
        kept = np.isin(old, rows, assume_unique=True)
        new = rows[np.count_nonzero(kept) :]
        parts = self if kept.all() else Shelf(*(part[torch.from_numpy(kept)] for part in self))
        if not len(new):
            return parts
        read = (new, *fetch(new))
        return Shelf(
            *(torch.cat([part, torch.from_numpy(more)]) for part, more in zip(parts, read, strict=True))
        )


def empty_shelf(key_size: int, value_size: int) -> Shelf:
    """Return a shelf without rows."""
    keys, values = (torch.empty(0, size, device="cpu") for size in (key_size, value_size))
    return Shelf(torch.empty(0, dtype=torch.int64, device="cpu"), keys, values)


def nothing_found(shape: tuple[int, ...], key_size: int, value_size: int) -> Found:
    """Return what a search ``(Q, k)`` of an empty store finds."""
    keys, values = (torch.zeros(*shape, size, device="cpu") for size in (key_size, value_size))
    return Found(torch.full(shape, -1, device="cpu"), keys, values)
