"""Hash tables whose buckets hold the slots of entries that are kept elsewhere."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.groups import Groups, count_before, group_rows
from recollect.ops.indexing import gather_rows, masked_put
from recollect.state import register_state

LOOKED_UP = 1 << 25
"""Indices of buckets that are looked up at once when many entries are inserted."""


@register_state
class HashTables(NamedTuple):
    """Several hash tables; each bucket holds a few indices of entries.

    An index is valid while its stamp equals the entry's. Erasing an entry or overwriting its slot changes the
    entry's stamp, which invalidates the index in all tables at no cost.

    Attributes:
        entry: ``(…, tables, buckets, capacity)`` int64.
        stamp: ``(…, tables, buckets, capacity)`` int64, the entry's stamp on insertion; 0 for a free place.
    """

    entry: Tensor
    stamp: Tensor


def empty_tables(*shape: int, device: torch.device) -> HashTables:
    """Empty tables of shape ``(…, tables, buckets, capacity)``."""
    return HashTables(*(torch.zeros(shape, dtype=torch.int64, device=device) for _ in range(2)))


def rows_to_insert(tables: HashTables, mask: Tensor) -> int:
    """How many of W rows, given their mask ``(…, W)``, to insert at once: their buckets fit in memory."""
    wide = tables.entry.shape[-3] * tables.entry.shape[-1] * max(1, mask.shape[:-1].numel())
    return max(1, LOOKED_UP // wide)


def valid_indices(tables: HashTables, stamp: Tensor) -> Tensor:
    """Which indices are valid, given the entries' stamps ``(…, N)``: bool, shaped like ``tables.entry``."""
    current = stamp.gather(-1, tables.entry.flatten(-3)).view_as(tables.stamp)
    return (tables.stamp > 0) & (tables.stamp == current)


class Candidates(NamedTuple):
    """The indices in the buckets of Q keys, C = tables · capacity for each, in the order of their slots.

    Attributes:
        slots: ``(…, Q, C)`` int64; 0 where not found.
        found: ``(…, Q, C)`` bool, which of the indices are valid.
        once: ``(…, Q, C)`` bool, the first of the valid indices of each entry.
        positions: ``(…, Q, C)`` int64, where the indices stand in the flattened tables.
    """

    slots: Tensor
    found: Tensor
    once: Tensor
    positions: Tensor


def candidates(tables: HashTables, stamp: Tensor, codes: Tensor) -> Candidates:
    """Find the indices in the buckets of Q keys, at a cost that depends on tables · capacity only.

    Args:
        tables: The tables.
        stamp: ``(…, N)``, the entries' stamps; 0 for a free slot.
        codes: ``(…, Q, tables)``, the keys' buckets.
    """
    positions, nowhere = _positions(tables, codes), stamp.shape[-1]
    entry, filed = (item.flatten(-3).gather(-1, positions.flatten(-2)) for item in tables)
    found = (filed > 0) & (filed == stamp.gather(-1, entry))
    # Sorting brings the indices of one entry in several tables together; the first of them counts.
    slots, order = entry.masked_fill(~found, nowhere).view_as(positions).sort(dim=-1, stable=True)
    found, once = slots < nowhere, torch.ones_like(slots, dtype=torch.bool)
    once[..., 1:] = slots[..., 1:] != slots[..., :-1]
    return Candidates(slots.masked_fill(~found, 0), found, once & found, positions.gather(-1, order))


def lookup(tables: HashTables, stamp: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Find the entries in the buckets of Q keys, each once.

    Args:
        tables: The tables.
        stamp: ``(…, N)``, the entries' stamps; 0 for a free slot.
        codes: ``(…, Q, tables)``, the keys' buckets.

    Returns:
        Slots ``(…, Q, tables · capacity)`` int64, and which of them are found, bool; the others are 0.
    """
    slots, _, once, _ = candidates(tables, stamp, codes)
    return slots.masked_fill(~once, 0), once


def clear(tables: HashTables, positions: Tensor, mask: Tensor, inplace: bool) -> HashTables:
    """Mark places at ``positions`` ``(…, n)`` of the flattened tables as free where ``mask`` is true.

    Args:
        tables: Changed if ``inplace``.
        positions: ``(…, n)`` int64; they may repeat.
        mask: ``(…, n)`` bool.
        inplace: Change ``tables`` themselves.
    """
    flat = _flat(tables.stamp, inplace)
    zero = torch.zeros_like(positions).masked_fill(~mask, torch.iinfo(torch.int64).max)
    stamp = (flat.scatter_reduce_ if inplace else flat.scatter_reduce)(-1, positions, zero, "amin")
    return tables._replace(stamp=stamp.view_as(tables.stamp))


def restamp(
    tables: HashTables,
    stamp: Tensor,
    codes: Tensor,
    slots: Tensor,
    number: Tensor,
    mask: Tensor,
    inplace: bool,
) -> HashTables:
    """Give the indices of n entries new stamps.

    Args:
        tables: Changed if ``inplace``.
        stamp: ``(…, N)``, the entries' stamps before.
        codes: ``(…, n, tables)``, the buckets of their keys.
        slots: ``(…, n)`` int64, without repeats among the unmasked.
        number: ``(…, n)``, the new stamps.
        mask: ``(…, n)`` bool; an entry where it is false keeps its stamp.
        inplace: Change ``tables`` themselves.
    """
    positions = _positions(tables, codes)  # (…, n, tables · capacity)
    entry, filed = (item.flatten(-3).gather(-1, positions.flatten(-2)).view_as(positions) for item in tables)
    own = (entry == slots.unsqueeze(-1)) & (filed == stamp.gather(-1, slots).unsqueeze(-1))
    own = own & mask.unsqueeze(-1)
    number = number.unsqueeze(-1).expand(positions.shape)
    flat = _flat(tables.stamp, inplace)
    new = masked_put(flat, positions.flatten(-2), number.flatten(-2), own.flatten(-2), inplace)
    return tables._replace(stamp=new.view_as(tables.stamp))


class Buckets(NamedTuple):
    """The buckets of W keys in every table, before anything is inserted, and which keys share them.

    Attributes:
        bucket: ``(…, tables, W)`` int64, counted over all tables.
        filed: ``(…, tables, W, capacity)`` int64, the stamps in each bucket.
        groups: The W rows of each table, by bucket.
    """

    bucket: Tensor
    filed: Tensor
    groups: Groups


def find_buckets(tables: HashTables, codes: Tensor) -> Buckets:
    """Look up the buckets of W keys, given their codes ``(…, W, tables)``."""
    index = _bucket_index(tables, codes).mT
    return Buckets(index, gather_rows(tables.stamp.flatten(-3, -2), index), group_rows([index]))


class Inserted(NamedTuple):
    """The result of ``insert``.

    Attributes:
        tables: The tables.
        holding: ``(…, W)`` int64, number of tables that hold each row once all W are inserted.
        dropped: ``(…, tables · W)`` int64, the entries whose valid index was replaced.
        was_valid: ``(…, tables · W)`` bool, which of those there are.
    """

    tables: HashTables
    holding: Tensor
    dropped: Tensor
    was_valid: Tensor


def insert(
    tables: HashTables,
    stamp: Tensor,
    buckets: Buckets,
    slots: Tensor,
    number: Tensor,
    mask: Tensor,
    inplace: bool,
) -> Inserted:
    """Insert W entries in order into every table.

    Each takes a free place of its bucket, or else that of the oldest index.

    Args:
        tables: Changed if ``inplace``.
        stamp: ``(…, N)``, the entries' stamps before.
        buckets: The keys' buckets in these tables.
        slots: ``(…, W)``, where the entries are kept.
        number: ``(…, W)``, their stamps: increasing, and above all in the tables.
        mask: ``(…, W)`` bool; nothing is inserted where it is false.
        inplace: Change ``tables`` themselves.
    """
    mask = mask.unsqueeze(-2).expand(buckets.bucket.shape)
    before, total = count_before(buckets.groups, mask)
    capacity = tables.entry.shape[-1]
    # Insertions take the places of a bucket in turn, from the oldest on, since what they insert is newer.
    turns = buckets.filed.argsort(dim=-1, stable=True)
    place = turns.gather(-1, (before % capacity).unsqueeze(-1)).squeeze(-1)
    positions = (buckets.bucket * capacity + place).flatten(-2)
    entry, filed = (item.flatten(-3).gather(-1, positions) for item in tables)
    was_valid = (mask & (before < capacity)).flatten(-2) & (filed > 0) & (filed == stamp.gather(-1, entry))
    stays = mask & (total - before <= capacity)
    columns = [
        masked_put(
            _flat(old, inplace),
            positions,
            rows.unsqueeze(-2).expand(mask.shape).flatten(-2),
            stays.flatten(-2),
            inplace,
        )
        for old, rows in ((tables.entry, slots), (tables.stamp, number))
    ]
    new = HashTables(*(column.view_as(tables.entry) for column in columns))
    return Inserted(new, stays.sum(-2), entry, was_valid)


def _flat(table: Tensor, inplace: bool) -> Tensor:
    # flatten may copy, and an update in place would be lost.
    return table.view(*table.shape[:-3], table.shape[-3:].numel()) if inplace else table.flatten(-3)


def _bucket_index(tables: HashTables, codes: Tensor) -> Tensor:
    """Index of each key's bucket, counted over all tables: ``(…, Q, tables)``."""
    return codes + torch.arange(codes.shape[-1], device=codes.device) * tables.entry.shape[-2]


def _positions(tables: HashTables, codes: Tensor) -> Tensor:
    """Places of the keys' buckets in the flattened tables: ``(…, Q, tables · capacity)``."""
    capacity = tables.entry.shape[-1]
    first = _bucket_index(tables, codes) * capacity
    return (first.unsqueeze(-1) + torch.arange(capacity, device=codes.device)).flatten(-2)
