"""Free lists: which of N slots are free, as a stack."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.indexing import assign, masked_put
from recollect.state import register_state


@register_state
class FreeList(NamedTuple):
    """The free ones of N slots, as a stack.

    Attributes:
        stack: ``(…, N)`` int64; its first ``size`` elements are the free slots.
        size: ``(…,)`` int64, number of free slots.
    """

    stack: Tensor
    size: Tensor


def full_free_list(*batch: int, size: int, device: torch.device) -> FreeList:
    """A free list of ``size`` slots that are all free; slot 0 is popped first."""
    stack = torch.arange(size - 1, -1, -1, device=device).expand(*batch, size).clone()
    return FreeList(stack, torch.full(batch, size, device=device))


def pop(free: FreeList, mask: Tensor, inplace: bool) -> tuple[FreeList, Tensor, Tensor]:
    """Pop a free slot for each of W rows in order, as far as there are any.

    Args:
        free: Changed if ``inplace``.
        mask: ``(…, W)`` bool; no slot is popped for a row where it is false.
        inplace: Change ``free`` itself.

    Returns:
        The remaining list, slots ``(…, W)``, and how many unmasked rows before each row were left without
        a slot, ``(…, W)``: negative for a row that was given one.
    """
    size = free.size.unsqueeze(-1)
    rank = mask.cumsum(-1) - mask.to(torch.int64)
    slots = free.stack.gather(-1, (size - 1 - rank).clamp_min(0))
    short, left = rank - size, (free.size - mask.sum(-1)).clamp_min(0)
    return FreeList(free.stack, assign(free.size, left, inplace)), slots, short


def push(free: FreeList, slots: Tensor, mask: Tensor, inplace: bool) -> FreeList:
    """Push n slots in order.

    Args:
        free: Changed if ``inplace``.
        slots: ``(…, n)`` int64, without repeats among the unmasked.
        mask: ``(…, n)`` bool; a slot where it is false is not pushed.
        inplace: Change ``free`` itself.
    """
    top = (free.size.unsqueeze(-1) + mask.cumsum(-1) - 1).clamp(0, free.stack.shape[-1] - 1)
    stack = masked_put(free.stack, top, slots, mask, inplace)
    return FreeList(stack, assign(free.size, free.size + mask.sum(-1), inplace))


def release(
    stamp: Tensor, free: FreeList, slots: Tensor, gone: Tensor, once: Tensor, inplace: bool
) -> tuple[Tensor, FreeList, Tensor]:
    """Free entries in E steps. Their stamp becomes zero, which makes every hash index to them stale.

    Args:
        stamp: ``(…, N)``, the entries' stamps; changed if ``inplace``.
        free: Changed if ``inplace``.
        slots: ``(…, E, C)`` int64; an entry that is named several times is freed once, by the first step.
        gone: ``(…, E, C)`` bool, which of them to free; none may be free already.
        once: ``(…, E, C)`` bool, one row of each entry that a step names.
        inplace: Change ``stamp`` and ``free`` themselves.

    Returns:
        The stamps, the free list, and ``(…, E, C)`` bool: all rows of a step that name an entry it freed.
    """
    # The first step that frees an entry leaves the lowest mark at its slot. Other rows leave none.
    bounds, steps = torch.iinfo(torch.int64), slots.shape[-2]
    mark = torch.arange(-steps, 0, device=slots.device).unsqueeze(-1).expand(slots.shape)
    flat, mark = slots.flatten(-2), mark.masked_fill(~gone, bounds.max).flatten(-2)
    zero = torch.zeros_like(flat).masked_fill(~gone.flatten(-2), bounds.min)
    reduce = torch.Tensor.scatter_reduce_ if inplace else torch.Tensor.scatter_reduce
    marked = reduce(stamp, -1, flat, mark, "amin")
    freed = gone & (marked.gather(-1, flat) == mark).view_as(gone)
    free = push(free, flat, (freed & once).flatten(-2), inplace)
    return reduce(marked, -1, flat, zero, "amax"), free, freed
