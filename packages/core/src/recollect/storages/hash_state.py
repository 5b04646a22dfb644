"""The state of a ``HashStorage``, and filing new entries in it."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.free_list import FreeList, full_free_list
from recollect.ops.groups import group_rows
from recollect.ops.hash_table import Buckets, HashTables, empty_tables, insert, lookup
from recollect.ops.indexing import assign, gather_rows, mask_repeats, masked_put
from recollect.ops.upserts import Clock, Known, meet
from recollect.state import register_state


@register_state
class HashState(NamedTuple):
    """State of a ``HashStorage``.

    Attributes:
        keys: ``(…, N, K)``, int64 where keys are integers.
        values: ``(…, N, V)``.
        presence: ``(…, N)`` in [0, 1]; arbitrary for a free slot.
        stamp: ``(…, N)`` int64, the number of the write that made the entry; 0 for a free slot.
        index_count: ``(…, N)`` int64, number of tables that still hold the entry.
        tables: Hash tables from keys to slots.
        free: The free slots.
        hand: ``(…,)`` int64, the slot to evict next when none is free.
        clock: ``(…,)`` int64, number of entries written so far.
        rejected: ``(…,)`` int64, number of rows left out because they were not finite.
    """

    keys: Tensor
    values: Tensor
    presence: Tensor
    stamp: Tensor
    index_count: Tensor
    tables: HashTables
    free: FreeList
    hand: Tensor
    clock: Tensor
    rejected: Tensor


def empty_hash_state(keys: Tensor, values: Tensor, table_shape: tuple[int, int, int]) -> HashState:
    """Return a state without entries, given zeros for its keys and values."""
    *batch, size, _ = values.shape
    numbers = torch.zeros((*batch, size), dtype=torch.int64, device=values.device)
    count = torch.zeros(batch, dtype=torch.int64, device=values.device)
    return HashState(
        keys=keys,
        values=values,
        presence=values.new_zeros(values.shape[:-1]),
        stamp=numbers,
        index_count=numbers.clone(),
        tables=empty_tables(*batch, *table_shape, device=values.device),
        free=full_free_list(*batch, size=size, device=values.device),
        hand=count,
        clock=count.clone(),
        rejected=count.clone(),
    )


def file_entries(
    state: HashState, buckets: Buckets, slots: Tensor, number: Tensor, fresh: Tensor, inplace: bool
) -> HashState:
    """Take slots for new entries, stamp and index them; their keys and values are not written yet.

    Args:
        state: Changed if ``inplace``.
        buckets: The buckets of W keys.
        slots: ``(…, W)`` int64.
        number: ``(…, W)`` int64, their stamps.
        fresh: ``(…, W)`` bool, which rows make a new entry.
        inplace: Change ``state`` itself.
    """
    added = insert(state.tables, state.stamp, buckets, slots, number, fresh, inplace)
    fewer = state.index_count.scatter_add_ if inplace else state.index_count.scatter_add
    count = fewer(-1, added.dropped, -added.was_valid.to(torch.int64))
    # An entry without any index is out of reach. Its slot is taken again when the hand comes to it.
    reached = torch.where(count.gather(-1, added.dropped) > 0, state.stamp.gather(-1, added.dropped), 0)
    stamp = (state.stamp.scatter_ if inplace else state.stamp.scatter)(-1, added.dropped, reached)
    last = mask_repeats(slots, fresh)
    stamp = masked_put(stamp, slots, number.masked_fill(added.holding == 0, 0), last, inplace)
    count = masked_put(count, slots, added.holding, last, inplace)
    evicting = (fresh.sum(-1) - state.free.size).clamp_min(0)
    left = (state.free.size - fresh.sum(-1)).clamp_min(0)
    hand = assign(state.hand, (state.hand + evicting) % state.presence.shape[-1], inplace)
    free = FreeList(state.free.stack, assign(state.free.size, left, inplace))
    return state._replace(stamp=stamp, index_count=count, tables=added.tables, free=free, hand=hand)


def meet_entries(
    state: HashState, key: Tensor, codes: Tensor, buckets: Buckets, clock: Clock, writes: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the entry that each of W integer keys meets when it is written; see ``meet``.

    Args:
        state: The state before the first of them.
        key: ``(…, W, K)``.
        codes: ``(…, W, tables)``, their buckets.
        buckets: The same, looked up.
        clock: Where new entries go.
        writes: ``(…, W)`` bool, the rows that make an entry if there is none.

    Returns:
        Slots ``(…, W)``, arbitrary where none exists, and which exist, bool.
    """
    slots, found = lookup(state.tables, state.stamp, codes)
    same = found & (gather_rows(state.keys, slots) == key.unsqueeze(-2)).all(-1)
    found, best = same.max(-1)
    slots = slots.gather(-1, best.unsqueeze(-1)).squeeze(-1)
    if key.shape[-2] <= 1:  # there are no rows before it
        return slots, found
    filed = state.stamp.gather(-1, slots).unsqueeze(-2).unsqueeze(-1)
    # Its number among the places of the bucket, which new indices take in this order.
    turn = (buckets.filed < filed).sum(-1)
    entry = gather_rows(state.tables.entry.flatten(-3, -2), buckets.bucket)
    here = (entry == slots.unsqueeze(-2).unsqueeze(-1)) & (buckets.filed == filed)
    turn = turn.masked_fill(~here.any(-1), -1)
    known = Known(slots, found, clock.eviction(slots), turn)
    return meet(
        group_rows(key.unbind(-1)), buckets.groups, known, writes, clock, state.tables.entry.shape[-1]
    )
