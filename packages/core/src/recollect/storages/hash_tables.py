"""Hash tables that hold the indices of entries kept elsewhere."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.state import register_state
from recollect.storages.places import add_where_


@register_state
class HashTables(NamedTuple):
    """Several tables of buckets, each bucket a few indices of entries.

    An index counts only while its stamp is that of the entry: once the entry is erased or its place is taken
    by another, the stamps differ, and the index is stale in all tables at no cost.

    Attributes:
        entry: ``(…, tables, buckets, capacity)`` int64.
        stamp: ``(…, tables, buckets, capacity)`` int64, of the entry when it was filed; 0 where nothing was.
    """

    entry: Tensor
    stamp: Tensor


def empty_tables(*shape: int, device: torch.device) -> HashTables:
    """Tables of shape ``(…, tables, buckets, capacity)`` that hold nothing."""
    return HashTables(*(torch.zeros(shape, dtype=torch.int64, device=device) for _ in range(2)))


def valid(tables: HashTables, stamp: Tensor) -> Tensor:
    """Which indices count, given the entries' stamps ``(…, N)``: bool, of the shape of ``tables.entry``."""
    current = stamp.gather(-1, tables.entry.flatten(-3)).view_as(tables.stamp)
    return (tables.stamp > 0) & (tables.stamp == current)


def candidates(tables: HashTables, stamp: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The entries in the buckets of Q keys, each once, at a cost that depends on tables · capacity only.

    Args:
        tables: Where to look.
        stamp: ``(…, N)`` the entries' stamps; 0 for a free place.
        codes: ``(…, Q, tables)`` the keys' buckets.

    Returns:
        Slots ``(…, Q, tables · capacity)`` int64, and which of them count, bool; the others name slot 0.
    """
    positions = _positions(tables, codes)
    entry, filed = (item.flatten(-3).gather(-1, positions.flatten(-2)) for item in tables)
    found = (filed > 0) & (filed == stamp.gather(-1, entry))
    nowhere = stamp.shape[-1]
    slots = entry.masked_fill(~found, nowhere).view_as(positions).sort(-1).values
    once = torch.ones_like(slots, dtype=torch.bool)
    once[..., 1:] = slots[..., 1:] != slots[..., :-1]
    once = once & (slots < nowhere)
    return slots.masked_fill(~once, 0), once


def insert_(
    tables: HashTables, stamp: Tensor, codes: Tensor, slot: Tensor, number: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """File one entry an item in each table, in place: over a stale index of its bucket, else over the oldest.

    Args:
        tables: Changed.
        stamp: ``(…, N)`` the entries' stamps, the new entry's included.
        codes: ``(…, tables)`` the key's buckets.
        slot: ``(…,)`` where the entry is kept.
        number: ``(…,)`` its stamp.
        mask: ``(…,)`` bool; where it is false nothing is filed.

    Returns:
        Slots ``(…, tables)`` whose index had to go, and whether there was such a one, bool.
    """
    positions = _positions(tables, codes.unsqueeze(-2)).squeeze(-2)  # (…, tables · capacity)
    entry, filed = (_flat(item).gather(-1, positions) for item in tables)
    age = filed * (filed == stamp.gather(-1, entry))  # 0 for a stale one
    age, place = age.view(*codes.shape, tables.entry.shape[-1]).min(-1)
    bucket = torch.arange(codes.shape[-1], device=codes.device)
    place = bucket * tables.entry.shape[-1] + place  # among all the buckets' places
    positions, entry, filed = (item.gather(-1, place) for item in (positions, entry, filed))
    mask = mask.unsqueeze(-1)
    add_where_(_flat(tables.entry), positions, slot.unsqueeze(-1) - entry, mask)
    add_where_(_flat(tables.stamp), positions, number.unsqueeze(-1) - filed, mask)
    return entry, (age > 0) & mask


def _flat(table: Tensor) -> Tensor:
    # Not flatten: a copy would swallow what is written to it.
    return table.view(*table.shape[:-3], table.shape[-3:].numel())


def _positions(tables: HashTables, codes: Tensor) -> Tensor:
    """Where the buckets' indices stand in a flat table: (…, Q, tables) → (…, Q, tables · capacity)."""
    count, buckets, capacity = tables.entry.shape[-3:]
    first = (torch.arange(count, device=codes.device) * buckets + codes) * capacity
    return (first.unsqueeze(-1) + torch.arange(capacity, device=codes.device)).flatten(-2)
