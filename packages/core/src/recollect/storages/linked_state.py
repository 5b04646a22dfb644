"""The state of a ``LinkedStorage``, and what changes its order."""

from typing import NamedTuple

from torch import Tensor

from recollect.ops.free_list import FreeList
from recollect.ops.hash_table import HashTables, restamp
from recollect.ops.indexing import assign, mask_repeats, masked_put
from recollect.ops.linked_list import LinkedList, append, remove
from recollect.state import register_state


@register_state
class LinkedState(NamedTuple):
    """State of a ``LinkedStorage``.

    Attributes:
        keys: ``(…, N, K)``.
        values: ``(…, N, V)``.
        presence: ``(…, N)`` in [0, 1]; arbitrary for a free slot.
        stamp: ``(…, N)`` int64, the clock when the entry was last written or used; 0 for a free slot.
        order: The entries in order.
        usage: The same entries, the least recently used first.
        tables: Hash tables from keys to slots.
        free: The free slots.
        clock: ``(…,)`` int64, number of entries written, updated and touched so far.
        rejected: ``(…,)`` int64, number of rows left out because they were not finite.
    """

    keys: Tensor
    values: Tensor
    presence: Tensor
    stamp: Tensor
    order: LinkedList
    usage: LinkedList
    tables: HashTables
    free: FreeList
    clock: Tensor
    rejected: Tensor


def mark_used(state: LinkedState, codes: Tensor, slots: Tensor, mask: Tensor, inplace: bool) -> LinkedState:
    """Move entries to the end of the usage list in order.

    They are stamped anew, and so are their indices: a bucket drops the least recently used.

    Args:
        state: Changed if ``inplace``.
        codes: ``(…, n, tables)``, the buckets of the keys at the slots.
        slots: ``(…, n)`` int64; they may repeat.
        mask: ``(…, n)`` bool; an entry where it is false is not moved.
        inplace: Change ``state`` itself.
    """
    last, number = mask_repeats(slots, mask), state.clock.unsqueeze(-1) + mask.cumsum(-1)
    usage = append(remove(state.usage, slots, last, inplace), slots, last, inplace)
    tables = restamp(state.tables, state.stamp, codes, slots, number, last, inplace)
    stamp = masked_put(state.stamp, slots, number, last, inplace)
    clock = assign(state.clock, state.clock + mask.sum(-1), inplace)
    return state._replace(usage=usage, tables=tables, stamp=stamp, clock=clock)


def unlink(state: LinkedState, slots: Tensor, mask: Tensor, inplace: bool) -> LinkedState:
    """Remove entries ``slots`` ``(…, n)`` from both lists where ``mask`` is true."""
    order, usage = (remove(nodes, slots, mask, inplace) for nodes in (state.order, state.usage))
    return state._replace(order=order, usage=usage)
