"""Hash tables whose buckets hold the slots of entries that are kept elsewhere."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.indexing import masked_scatter_add_
from recollect.state import register_state


@register_state
class HashTables(NamedTuple):
    """Several hash tables; each bucket holds a few indices of entries.

    An index is valid while its stamp equals the entry's. Erasing an entry or overwriting its slot changes the
    entry's stamp, which invalidates the index in all tables at no cost.

    Attributes:
        entry: ``(…, tables, buckets, capacity)`` int64.
        stamp: ``(…, tables, buckets, capacity)`` int64, the entry's stamp on insertion; 0 if never used.
    """

    entry: Tensor
    stamp: Tensor


def empty_tables(*shape: int, device: torch.device) -> HashTables:
    """Empty tables of shape ``(…, tables, buckets, capacity)``."""
    return HashTables(*(torch.zeros(shape, dtype=torch.int64, device=device) for _ in range(2)))


def valid_indices(tables: HashTables, stamp: Tensor) -> Tensor:
    """Which indices are valid, given the entries' stamps ``(…, N)``: bool, shaped like ``tables.entry``."""
    current = stamp.gather(-1, tables.entry.flatten(-3)).view_as(tables.stamp)
    return (tables.stamp > 0) & (tables.stamp == current)


def lookup(tables: HashTables, stamp: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Find the entries in the buckets of Q keys, each once, at a cost that depends on tables · capacity only.

    Args:
        tables: The tables.
        stamp: ``(…, N)``, the entries' stamps; 0 for a free slot.
        codes: ``(…, Q, tables)``, the keys' buckets.

    Returns:
        Slots ``(…, Q, tables · capacity)`` int64, and which of them are found, bool; the others are 0.
    """
    positions = _positions(tables, codes)
    entry, filed = (item.flatten(-3).gather(-1, positions.flatten(-2)) for item in tables)
    found = (filed > 0) & (filed == stamp.gather(-1, entry))
    nowhere = stamp.shape[-1]
    # Sorting brings the indices of one entry in several tables together; the first of them counts.
    slots = entry.masked_fill(~found, nowhere).view_as(positions).sort(-1).values
    once = torch.ones_like(slots, dtype=torch.bool)
    once[..., 1:] = slots[..., 1:] != slots[..., :-1]
    once = once & (slots < nowhere)
    return slots.masked_fill(~once, 0), once


def insert_(
    tables: HashTables, stamp: Tensor, codes: Tensor, slot: Tensor, number: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Insert one entry per batch item into every table, in place.

    It replaces a stale index of its bucket if there is one, else the oldest.

    Args:
        tables: Changed in place.
        stamp: ``(…, N)``, the entries' stamps, including the new entry's.
        codes: ``(…, tables)``, the key's buckets.
        slot: ``(…,)``, where the entry is kept.
        number: ``(…,)``, its stamp.
        mask: ``(…,)`` bool; nothing is inserted where it is false.

    Returns:
        Slots ``(…, tables)`` whose valid index was dropped, and whether there was one, bool.
    """
    positions = _positions(tables, codes.unsqueeze(-2)).squeeze(-2)  # (…, tables · capacity)
    entry, filed = (_flat(item).gather(-1, positions) for item in tables)
    age = filed * (filed == stamp.gather(-1, entry))  # 0 for a stale index
    age, place = age.view(*codes.shape, tables.entry.shape[-1]).min(-1)  # (…, tables)
    bucket = torch.arange(codes.shape[-1], device=codes.device)
    place = bucket * tables.entry.shape[-1] + place  # index into positions
    positions, entry, filed = (item.gather(-1, place) for item in (positions, entry, filed))
    mask = mask.unsqueeze(-1)
    masked_scatter_add_(_flat(tables.entry), positions, slot.unsqueeze(-1) - entry, mask)
    masked_scatter_add_(_flat(tables.stamp), positions, number.unsqueeze(-1) - filed, mask)
    return entry, (age > 0) & mask


def _flat(table: Tensor) -> Tensor:
    # Not flatten, which may copy: the update would be lost.
    return table.view(*table.shape[:-3], table.shape[-3:].numel())


def _positions(tables: HashTables, codes: Tensor) -> Tensor:
    """Flat positions of the buckets' indices: ``(…, Q, tables)`` → ``(…, Q, tables · capacity)``."""
    count, buckets, capacity = tables.entry.shape[-3:]
    first = (torch.arange(count, device=codes.device) * buckets + codes) * capacity
    return (first.unsqueeze(-1) + torch.arange(capacity, device=codes.device)).flatten(-2)
