"""The state of a ``VectorStorage``, and writing to it by slot."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.indexing import scatter_rows, scatter_rows_
from recollect.ops.inspection import can_inspect
from recollect.ops.ring_write import write_ring
from recollect.state import register_state


@register_state
class VectorState(NamedTuple):
    """State of a ``VectorStorage``.

    Attributes:
        keys: ``(…, N, K)``.
        values: ``(…, N, V)``.
        presence: ``(…, N)`` in [0, 1]; zero marks a free slot.
        usage: ``(…, N)`` int64, the clock when the entry was last written, updated or touched.
        clock: ``(…,)`` int64, number of entries written so far; except for a ring, updates and touches count.
        rejected: ``(…,)`` int64, number of rows left out because they were not finite.
    """

    keys: Tensor
    values: Tensor
    presence: Tensor
    usage: Tensor
    clock: Tensor
    rejected: Tensor


def place_run(
    state: VectorState, key: Tensor, value: Tensor, strength: Tensor, clock: int, inplace: bool
) -> tuple[VectorState, Tensor]:
    """Write to a ring where all batch items have the same clock, by slices instead of by index."""
    count, axis, slots = key.shape[-2], state.clock.dim(), state.presence.shape[-1]
    number = torch.arange(clock, clock + count, device=key.device).expand(strength.shape)
    keys, values, presence, usage = (
        write_ring(table, rows, clock, axis, inplace)
        for table, rows in zip(state[:4], (key, value, strength, number), strict=True)
    )
    after = state.clock.add_(count) if inplace else state.clock + count
    return VectorState(keys, values, presence, usage, after, state.rejected), number % slots


def keep_presence(state: VectorState, kept: Tensor, inplace: bool) -> VectorState:
    """Multiply the presence of every entry by ``kept`` ``(…, N)`` in [0, 1]."""
    kept = kept.to(state.presence.dtype)
    presence = state.presence.mul_(kept) if inplace else state.presence * kept
    return state._replace(presence=presence)


def write_entries(
    state: VectorState, rows: tuple[Tensor, ...], slots: Tensor, mask: Tensor, last: Tensor, inplace: bool
) -> VectorState:
    """Write W entries to given slots.

    Args:
        state: The state to write to.
        rows: Keys ``(…, W, K)``, values ``(…, W, V)``, presence and usage ``(…, W)``.
        slots: ``(…, W)`` int64.
        mask: ``(…, W)`` bool, which of them are written.
        last: ``(…, W)`` bool, which of those no later one overwrites.
        inplace: Write to the tensors of ``state`` themselves.
    """
    if inplace:
        tables = [scatter_rows_(*pair, slots, last) for pair in zip(state[:4], rows, strict=True)]
    else:
        some = None if can_inspect(last) and last.all() else last
        tables = [scatter_rows(*pair, slots, some) for pair in zip(state[:4], rows, strict=True)]
    keys, values, presence, usage = tables
    clock = state.clock.add_(mask.sum(-1)) if inplace else state.clock + mask.sum(-1)
    return VectorState(keys, values, presence, usage, clock, state.rejected)
