"""Doubly linked lists over slots, as two tables of pointers."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.ops.indexing import masked_put
from recollect.ops.inspection import is_traced
from recollect.state import register_state

CHASED = 8
"""Slots at the head of a list that are looked up one after the other, at most."""


@register_state
class LinkedList(NamedTuple):
    """A doubly linked list of some of N slots.

    Slot N is the sentinel that closes the list to a ring: it comes before the head and after the tail, and is
    what a slot outside the list points to.

    Attributes:
        next: ``(…, N + 1)`` int64, the slot that comes next; ``next[N]`` is the head.
        prev: ``(…, N + 1)`` int64, the slot that comes before; ``prev[N]`` is the tail.
    """

    next: Tensor
    prev: Tensor


def empty_linked_list(*batch: int, size: int, device: torch.device) -> LinkedList:
    """An empty list over ``size`` slots."""
    return LinkedList(*(torch.full((*batch, size + 1), size, device=device) for _ in range(2)))


def first_slots(nodes: LinkedList, count: int) -> Tensor:
    """The first ``count`` slots of the list ``(…, count)``; N past its end.

    A few are looked up one after the other. For more, pointers are doubled: log₂ ``count`` rounds over all N.
    """
    found, nowhere = nodes.next[..., -1:], nodes.next.shape[-1] - 1
    if count <= CHASED:
        while found.shape[-1] < count:
            last = found[..., -1:]
            following = nodes.next.gather(-1, last).masked_fill(last == nowhere, nowhere)
            found = torch.cat([found, following], -1)
        return found[..., :count]
    jump = torch.cat([nodes.next[..., :-1], torch.full_like(found, nowhere)], -1)
    while found.shape[-1] < count:
        found = torch.cat([found, jump.gather(-1, found)], -1)
        jump = jump.gather(-1, jump)
    return found[..., :count]


def remove(nodes: LinkedList, slots: Tensor, mask: Tensor, inplace: bool) -> LinkedList:
    """Remove n slots and join what is left; neighbours may be removed together.

    Args:
        nodes: Changed if ``inplace``.
        slots: ``(…, n)`` int64, without repeats among the unmasked.
        mask: ``(…, n)`` bool, which of them to remove.
        inplace: Change ``nodes`` themselves.
    """
    if not slots.shape[-1]:
        return nodes
    nowhere = nodes.next.shape[-1] - 1
    before, following = nodes.prev.gather(-1, slots), nodes.next.gather(-1, slots)
    members = slots.masked_fill(~mask, nowhere + 1)
    row, removed = find_rows(members, following)
    # What follows the last of a run of removed slots follows them all.
    last = follow_links(torch.where(removed, row, torch.arange(slots.shape[-1], device=slots.device)))
    following = following.gather(-1, last)
    starts = mask & ~find_rows(members, before)[1]
    end, both = torch.full_like(slots, nowhere), torch.cat([mask, starts], -1)
    ahead, behind = torch.cat([slots, before], -1), torch.cat([slots, following], -1)
    return LinkedList(
        masked_put(nodes.next, ahead, torch.cat([end, following], -1), both, inplace),
        masked_put(nodes.prev, behind, torch.cat([end, before], -1), both, inplace),
    )


def append(nodes: LinkedList, slots: Tensor, mask: Tensor, inplace: bool) -> LinkedList:
    """Append n slots in order.

    Args:
        nodes: Changed if ``inplace``.
        slots: ``(…, n)`` int64, not in the list, without repeats among the unmasked.
        mask: ``(…, n)`` bool; a slot where it is false is not appended.
        inplace: Change ``nodes`` themselves.
    """
    count, nowhere = slots.shape[-1], nodes.next.shape[-1] - 1
    if not count:
        return nodes
    rows, tail = torch.arange(count, device=slots.device), nodes.prev[..., -1:]
    # Of each row and of the end: the last unmasked row before; the first unmasked row from there on.
    before = F.pad(torch.where(mask, rows, -1).cummax(-1).values, (1, 0), value=-1)
    onward = torch.where(mask, rows, count).flip(-1).cummin(-1).values.flip(-1)
    previous = torch.where(before < 0, tail, slots.gather(-1, before.clamp_min(0)))
    following = slots.gather(-1, onward.clamp_max(count - 1)).masked_fill(onward == count, nowhere)
    first, following = following[..., :1], F.pad(following[..., 1:], (0, 1), value=nowhere)
    some = torch.cat([mask, mask.any(-1, keepdim=True)], -1)
    end = torch.full_like(tail, nowhere)
    return LinkedList(
        masked_put(
            nodes.next, torch.cat([slots, tail], -1), torch.cat([following, first], -1), some, inplace
        ),
        masked_put(nodes.prev, torch.cat([slots, end], -1), previous, some, inplace),
    )


def find_rows(slots: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The row of ``slots`` ``(…, n)`` that holds each of ``wanted`` ``(…, m)``, and whether one does."""
    in_order, order = slots.sort(dim=-1)
    place = torch.searchsorted(in_order, wanted.contiguous()).clamp_max(slots.shape[-1] - 1)
    return order.gather(-1, place), in_order.gather(-1, place) == wanted


def follow_links(links: Tensor) -> Tensor:
    """Follow ``links`` ``(…, n)`` from row to row to the end; the last row of a chain links to itself.

    Pointers are doubled, which takes log₂ n rounds at most. Where values are known, rounds end with the
    longest chain.
    """
    for _ in range(links.shape[-1].bit_length()):
        further = links.gather(-1, links)
        if not is_traced(links) and torch.equal(further, links):
            break
        links = further
    return links
