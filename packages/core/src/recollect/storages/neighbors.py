"""The entries of a storage that are nearest to a query."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.distance import Metric, nearest_slots, row_distance
from recollect.ops.indexing import gather_rows
from recollect.ops.masking import apply_mask
from recollect.ops.sharing import unfold_readers
from recollect.state import Entries


class Neighbors(NamedTuple):
    """The k entries nearest to each query, nearest first.

    Attributes:
        keys: ``(…, Q, k, K)``, zero where there is no entry.
        values: ``(…, Q, k, V)``, zero where there is no entry.
        slots: ``(…, Q, k)`` int64, slots or row numbers; −1 where fewer than k entries exist.
        presence: ``(…, Q, k)`` in [0, 1]; zero where there is no entry.
    """

    keys: Tensor
    values: Tensor
    slots: Tensor
    presence: Tensor


def nearest_entries(query: Tensor, entries: Entries, k: int, metric: Metric) -> Neighbors:
    """Return the k entries nearest to each query ``(…, Q, K)``, by an exact search over all N."""
    slots = nearest_slots(query, entries.keys, entries.filled > 0, k, metric)
    return neighbors_at(entries, slots)


def nearest_candidates(
    query: Tensor, entries: Entries, slots: Tensor, found: Tensor, k: int, metric: Metric
) -> Neighbors:
    """Return the k nearest of each query's candidates, at ``slots`` ``(…, Q, C)`` where ``found``, bool."""
    query, keys = query.detach(), entries.keys.detach()
    distance = row_distance(query, gather_rows(keys, slots).to(query.dtype), metric)
    distance, order = distance.masked_fill(~found, torch.inf).sort(dim=-1, stable=True)
    slots = slots.gather(-1, order).masked_fill(distance == torch.inf, -1)[..., :k]
    return neighbors_at(entries, torch.nn.functional.pad(slots, (0, k - slots.shape[-1]), value=-1))


def neighbors_at(entries: Entries, slots: Tensor) -> Neighbors:
    """Look up entries at ``slots`` ``(…, Q, k)``; −1 is no entry."""
    some, index = slots >= 0, slots.clamp_min(0)
    keys, values = (apply_mask(gather_rows(rows, index), some) for rows in entries[:2])
    presence = gather_rows(entries.filled.unsqueeze(-1), index).squeeze(-1)
    return Neighbors(keys, values, slots, presence.masked_fill(~some, 0))


def unfold_neighbors(neighbors: Neighbors, readers: tuple[int, ...], count: int) -> Neighbors:
    """Undo ``fold_readers`` for neighbours of the queries of several readers."""
    keys, values = (_unfold_wide(rows, readers, count) for rows in neighbors[:2])
    slots, presence = (unfold_readers(rows, readers, count, -2) for rows in neighbors[2:])
    return Neighbors(keys, values, slots, presence)


def _unfold_wide(rows: Tensor, readers: tuple[int, ...], count: int) -> Tensor:
    """Undo ``fold_readers`` for rows ``(…, Q, k, D)``."""
    flat = unfold_readers(rows.flatten(-2), readers, count, -2)
    return flat.reshape(*flat.shape[:-1], *rows.shape[-2:])
