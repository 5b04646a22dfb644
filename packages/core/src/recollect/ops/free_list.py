"""Free lists: which of N slots are free, as a stack with O(1) pop and push."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.indexing import gather_one, masked_scatter_add_
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


def pop_(free: FreeList, default: Tensor, mask: Tensor) -> Tensor:
    """Pop a free slot ``(…,)`` in place, or return ``default`` where none is free.

    Args:
        free: Changed in place.
        default: ``(…,)`` int64.
        mask: ``(…,)`` bool; nothing is popped where it is false.
    """
    top = gather_one(free.stack, (free.size - 1).clamp_min(0))
    available = free.size > 0
    free.size.sub_((mask & available).to(torch.int64))
    return torch.where(available, top, default)


def push_(free: FreeList, slots: Tensor, mask: Tensor) -> None:
    """Push n slots in place.

    Args:
        free: Changed in place.
        slots: ``(…, n)`` int64, without repeats among the unmasked.
        mask: ``(…, n)`` bool; a slot where it is false is not pushed.
    """
    top = (free.size.unsqueeze(-1) + mask.cumsum(-1) - 1).clamp(0, free.stack.shape[-1] - 1)
    masked_scatter_add_(free.stack, top, slots - free.stack.gather(-1, top), mask)
    free.size.add_(mask.sum(-1))


def release_(stamp: Tensor, free: FreeList, slots: Tensor, mask: Tensor) -> None:
    """Free n entries in place. Their stamp becomes zero, which makes every hash index to them stale.

    Args:
        stamp: ``(…, N)``, the entries' stamps; changed in place.
        free: Changed in place.
        slots: ``(…, n)`` int64, without repeats among the unmasked.
        mask: ``(…, n)`` bool.
    """
    masked_scatter_add_(stamp, slots, -stamp.gather(-1, slots), mask)
    push_(free, slots, mask)


def find_free_slots(presence: Tensor, strength: Tensor, mask: Tensor) -> Tensor | None:
    """The first free slots in order, one for each of W entries; ``None`` if they must be written one by one.

    That is the case if a batch item has fewer free slots than entries, or an entry has strength zero and
    leaves its slot free for the next. It is also the case for a single entry, where a search is cheaper than
    a sort.

    Args:
        presence: ``(…, N)``; zero marks a free slot.
        strength: ``(…, W)``.
        mask: ``(…, W)`` bool; the slot of a masked entry is arbitrary.
    """
    if torch.compiler.is_compiling() or not mask.numel() or mask.shape[-1] == 1:
        return None
    if bool((mask & (strength <= 0)).any()):
        return None
    free = presence <= 0
    if bool((mask.sum(-1) > free.sum(-1)).any()):
        return None
    order = (~free).to(torch.uint8).argsort(dim=-1, stable=True)
    return order.gather(-1, (mask.cumsum(-1) - 1).clamp(0, order.shape[-1] - 1))
