"""Doubly linked lists over slots, as two tables of pointers."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.indexing import gather_one, masked_scatter_add_, scatter_one_
from recollect.state import register_state


@register_state
class LinkedList(NamedTuple):
    """A doubly linked list of some of N slots.

    Slot N is the sentinel that closes the list to a ring: it comes before the head and after the tail. The
    pointers of a slot outside the list are arbitrary.

    Attributes:
        next: ``(…, N + 1)`` int64, the slot that comes next; ``next[N]`` is the head.
        prev: ``(…, N + 1)`` int64, the slot that comes before; ``prev[N]`` is the tail.
    """

    next: Tensor
    prev: Tensor


def empty_linked_list(*batch: int, size: int, device: torch.device) -> LinkedList:
    """An empty list over ``size`` slots."""
    return LinkedList(*(torch.full((*batch, size + 1), size, device=device) for _ in range(2)))


def head(nodes: LinkedList) -> Tensor:
    """The first slot of the list ``(…,)``; N if it is empty."""
    return nodes.next[..., -1]


def tail(nodes: LinkedList) -> Tensor:
    """The last slot of the list ``(…,)``; N if it is empty."""
    return nodes.prev[..., -1]


def insert_after_(nodes: LinkedList, slot: Tensor, after: Tensor, mask: Tensor) -> None:
    """Insert one slot per batch item in place, behind ``after``, where ``mask`` is true; all ``(…,)``."""
    following = gather_one(nodes.next, after)
    scatter_one_(nodes.next, after, slot, mask)
    scatter_one_(nodes.prev, slot, after, mask)
    scatter_one_(nodes.next, slot, following, mask)
    scatter_one_(nodes.prev, following, slot, mask)


def remove_(nodes: LinkedList, slot: Tensor, mask: Tensor) -> None:
    """Remove one slot per batch item in place where ``mask`` is true, and join its neighbours."""
    before, following = gather_one(nodes.prev, slot), gather_one(nodes.next, slot)
    scatter_one_(nodes.next, before, following, mask)
    scatter_one_(nodes.prev, following, before, mask)


def remove_many_(nodes: LinkedList, slots: Tensor, mask: Tensor) -> None:
    """Remove n slots per batch item in place and join what is left; neighbours may be removed together.

    Pointer jumping skips a run of removed slots in log₂ n rounds. The first slot of a run then joins the two
    slots beside it. Outside ``torch.compile`` the rounds end with the longest run.

    Args:
        nodes: Changed in place.
        slots: ``(…, n)`` int64, without repeats among the unmasked.
        mask: ``(…, n)`` bool, which of them to remove.
    """
    before, following = nodes.prev.gather(-1, slots), nodes.next.gather(-1, slots)
    removed = mask.unsqueeze(-2)
    # (…, n, n): whether slot j, which is removed too, comes right after slot i.
    successor = (following.unsqueeze(-1) == slots.unsqueeze(-2)) & removed
    jumps, index = successor.any(-1), successor.to(torch.uint8).argmax(-1)
    for _ in range(slots.shape[-1].bit_length()):
        if not torch.compiler.is_compiling() and not jumps.any():
            break
        following = torch.where(jumps, following.gather(-1, index), following)
        jumps, index = jumps & jumps.gather(-1, index), index.gather(-1, index)
    starts = mask & ~((before.unsqueeze(-1) == slots.unsqueeze(-2)) & removed).any(-1)
    masked_scatter_add_(nodes.next, before, following - slots, starts)
    masked_scatter_add_(nodes.prev, following, before - nodes.prev.gather(-1, following), starts)
