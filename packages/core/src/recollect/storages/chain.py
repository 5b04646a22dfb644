"""Places in an order: a doubly linked list as two tables of pointers."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.state import register_state
from recollect.storages.places import add_where_, look, put_


@register_state
class Chain(NamedTuple):
    """Some of N places in an order, as pointers.

    Place N, which no entry has, closes the chain to a ring: it comes before the first and after the last.
    What the pointers of a place outside the chain say carries no meaning.

    Attributes:
        following: ``(…, N + 1)`` int64, the place that comes next; ``following[N]`` is the first.
        preceding: ``(…, N + 1)`` int64, the place that comes before; ``preceding[N]`` is the last.
    """

    following: Tensor
    preceding: Tensor


def empty_chain(*batch: int, size: int, device: torch.device) -> Chain:
    """A chain with nothing in it."""
    return Chain(*(torch.full((*batch, size + 1), size, device=device) for _ in range(2)))


def first(chain: Chain) -> Tensor:
    """The first place of the chain ``(…,)``, N if there is none."""
    return chain.following[..., -1]


def last(chain: Chain) -> Tensor:
    """The last place of the chain ``(…,)``, N if there is none."""
    return chain.preceding[..., -1]


def link_(chain: Chain, slot: Tensor, after: Tensor, mask: Tensor) -> None:
    """Put one place an item into the chain, in place: ``slot`` behind ``after``, where ``mask``; all (…,)."""
    ahead = look(chain.following, after)
    put_(chain.following, after, slot, mask)
    put_(chain.preceding, slot, after, mask)
    put_(chain.following, slot, ahead, mask)
    put_(chain.preceding, ahead, slot, mask)


def unlink_(chain: Chain, slot: Tensor, mask: Tensor) -> None:
    """Take one place an item out of the chain, in place, joining its neighbours."""
    behind, ahead = look(chain.preceding, slot), look(chain.following, slot)
    put_(chain.following, behind, ahead, mask)
    put_(chain.preceding, ahead, behind, mask)


def unlink_many_(chain: Chain, slots: Tensor, mask: Tensor) -> None:
    """Take n places an item out of the chain, in place, joining what is left; neighbours may go together.

    A run of places that go is skipped by pointer jumping: log₂ n rounds suffice. Its first one then joins the
    two places beside the run. Outside ``torch.compile`` the rounds end with the longest run.

    Args:
        chain: Changed.
        slots: ``(…, n)`` int64, without repeats among the unmasked.
        mask: ``(…, n)`` bool, which of them go.
    """
    behind, ahead = chain.preceding.gather(-1, slots), chain.following.gather(-1, slots)
    goes = mask.unsqueeze(-2)
    follower = (ahead.unsqueeze(-1) == slots.unsqueeze(-2)) & goes  # (…, n, n)
    on, index = follower.any(-1), follower.to(torch.uint8).argmax(-1)
    for _ in range(slots.shape[-1].bit_length()):
        if not torch.compiler.is_compiling() and not on.any():
            break
        ahead = torch.where(on, ahead.gather(-1, index), ahead)
        on, index = on & on.gather(-1, index), index.gather(-1, index)
    starts = mask & ~((behind.unsqueeze(-1) == slots.unsqueeze(-2)) & goes).any(-1)
    add_where_(chain.following, behind, ahead - slots, starts)
    add_where_(chain.preceding, ahead, behind - chain.preceding.gather(-1, ahead), starts)
