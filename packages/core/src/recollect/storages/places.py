"""Places in a table of N: looking at one, writing to one, and a stack of the free ones, all in O(1)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.state import S, map_state, register_state


@register_state
class FreePlaces(NamedTuple):
    """Which of N places are free: a stack.

    Attributes:
        stack: ``(…, N)`` int64; the first ``left`` are free places.
        left: ``(…,)`` int64, how many.
    """

    stack: Tensor
    left: Tensor


def all_free(*batch: int, size: int, device: torch.device) -> FreePlaces:
    """All places free; the first to be taken is 0."""
    stack = torch.arange(size - 1, -1, -1, device=device).expand(*batch, size).clone()
    return FreePlaces(stack, torch.full(batch, size, device=device))


def take_(places: FreePlaces, otherwise: Tensor, mask: Tensor) -> Tensor:
    """Take a free place, in place: ``(…,)``, ``otherwise`` where none is free.

    Args:
        places: Changed.
        otherwise: ``(…,)`` int64.
        mask: ``(…,)`` bool; where it is false nothing is taken.
    """
    top = look(places.stack, (places.left - 1).clamp_min(0))
    some = places.left > 0
    places.left.sub_((mask & some).to(torch.int64))
    return torch.where(some, top, otherwise)


def give_back_(places: FreePlaces, slots: Tensor, mask: Tensor) -> None:
    """Give n places back, in place.

    Args:
        places: Changed.
        slots: ``(…, n)`` int64, without repeats among the unmasked.
        mask: ``(…, n)`` bool; a place where it is false is not given back.
    """
    top = (places.left.unsqueeze(-1) + mask.cumsum(-1) - 1).clamp(0, places.stack.shape[-1] - 1)
    add_where_(places.stack, top, slots - places.stack.gather(-1, top), mask)
    places.left.add_(mask.sum(-1))


def let_go_(stamp: Tensor, places: FreePlaces, slots: Tensor, mask: Tensor) -> None:
    """Free n entries, in place: with a stamp of zero, every index that names one is stale.

    Args:
        stamp: ``(…, N)`` of the entries; changed.
        places: Changed.
        slots: ``(…, n)`` int64, without repeats among the unmasked.
        mask: ``(…, n)`` bool.
    """
    add_where_(stamp, slots, -stamp.gather(-1, slots), mask)
    give_back_(places, slots, mask)


def own_integers(state: S) -> S:
    """The same state with integers of its own, contiguous ones, for bookkeeping in place."""
    own = torch.contiguous_format
    return map_state(lambda i: i if i.is_floating_point() else i.clone(memory_format=own), state)


def look(table: Tensor, slot: Tensor) -> Tensor:
    """``table[…, slot]`` for one place an item: ``(…, N)``, ``(…,)`` → ``(…,)``."""
    return table.gather(-1, slot.unsqueeze(-1)).squeeze(-1)


def put_(table: Tensor, slot: Tensor, value: Tensor | int, mask: Tensor) -> None:
    """In place: ``table[…, slot] = value`` for one place an item, where ``mask`` ``(…,)`` is true."""
    add_where_(table, slot.unsqueeze(-1), (value - look(table, slot)).unsqueeze(-1), mask.unsqueeze(-1))


def add_where_(table: Tensor, slots: Tensor, change: Tensor, mask: Tensor) -> None:
    """In place: add ``change`` (…, n) at ``slots`` (…, n) where ``mask`` (…, n) is true.

    Adding zero elsewhere lets masked rows name any place, also one that another row changes.
    """
    table.scatter_add_(-1, slots, change.masked_fill(~mask, 0))


def rows_at(table: Tensor, slots: Tensor) -> Tensor:
    """Rows of ``table`` (…, N, D) at ``slots`` (…, Q, C): ``(…, Q, C, D)``. Its cost does not depend on N."""
    *batch, size, width = table.shape
    first = torch.arange(0, table[..., 0].numel(), size, device=table.device).reshape(*batch, 1, 1)
    return F.embedding(slots + first, table.reshape(-1, width))
