"""Which of W writes to a full store meet their key, when each of them may evict what another made."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.groups import Groups, count_before, last_before
from recollect.ops.inspection import is_traced


class Known(NamedTuple):
    """The entries that the keys of W rows name before the first of them is written.

    Attributes:
        slots: ``(…, W)`` int64; arbitrary where not found.
        found: ``(…, W)`` bool.
        evicted: ``(…, W)`` int64, the number of new entries after which its slot is taken.
        dropped: ``(…, tables, W)`` int64, the number of new entries of its bucket after which the bucket has
            dropped it; −1 if it has already.
    """

    slots: Tensor
    found: Tensor
    evicted: Tensor
    dropped: Tensor


class Clock(NamedTuple):
    """Where new entries go: to the free slots first, then to the slots under a hand that sweeps all N.

    Attributes:
        stack: ``(…, N)`` int64; its first ``free`` elements are the free slots, the last is taken first.
        free: ``(…, 1)`` int64, number of free slots.
        hand: ``(…, 1)`` int64, the slot that the hand is at.
    """

    stack: Tensor
    free: Tensor
    hand: Tensor

    def slots(self, rank: Tensor) -> Tensor:
        """Slot of the new entry number ``rank`` ``(…, W)``."""
        size = self.stack.shape[-1]
        stack = self.stack.expand(*rank.shape[:-1], size)
        popped = stack.gather(-1, (self.free - 1 - rank).clamp(0, size - 1))
        return torch.where(rank < self.free, popped, (self.hand + rank - self.free) % size)

    def eviction(self, slots: Tensor) -> Tensor:
        """Number of the new entry that evicts the one in each of ``slots``, on the first sweep."""
        return self.free + (slots - self.hand) % self.stack.shape[-1]


def meet(
    keys: Groups, buckets: Groups, known: Known, writes: Tensor, clock: Clock, capacity: int
) -> tuple[Tensor, Tensor]:
    """Find, for each of W rows, the entry of its key that exists when the row is written.

    Whether a row meets an entry depends on which rows before it made one, so rows are decided in rounds until
    nothing changes. Each round decides at least one more row, and usually all of them. Two guesses are
    refined side by side, that nothing is ever evicted and that everything is, and the first to be consistent
    is the answer: there is only one. Where values cannot be looked at there are W rounds.

    Args:
        keys: The rows by key.
        buckets: The rows of every table by bucket.
        known: The entries that exist before.
        writes: ``(…, W)`` bool, the rows that make an entry if there is none.
        clock: Where new entries go.
        capacity: Indices per bucket.

    Returns:
        Slots ``(…, W)``, arbitrary where none exists, and which exist, bool.
    """
    count = writes.shape[-1]
    likely = known.found | (last_before(keys, writes) >= 0)
    guess = torch.stack([likely, torch.zeros_like(likely)])
    settled = torch.zeros_like(guess[..., 0])
    slots = known.slots.expand(guess.shape)
    for _ in range(count):
        slots, found = _refine(keys, buckets, known, writes & ~guess, clock, capacity)
        settled, guess = (found == guess).all(-1), found
        if not is_traced(writes) and bool(settled.any(0).all()):
            break
    first = settled[0].unsqueeze(-1)
    return torch.where(first, slots[0], slots[1]), torch.where(first, guess[0], guess[1])


def _refine(
    keys: Groups, buckets: Groups, known: Known, fresh: Tensor, clock: Clock, capacity: int
) -> tuple[Tensor, Tensor]:
    """The entry that each row meets, if the rows ``fresh`` ``(2, …, W)`` make new ones."""
    rank = fresh.cumsum(-1) - fresh.to(torch.int64)
    in_bucket = count_before(
        buckets, fresh.unsqueeze(-2).expand(*fresh.shape[:-1], *known.dropped.shape[-2:])
    )[0]
    maker = last_before(keys, fresh)
    made, row = maker >= 0, maker.clamp_min(0)
    own = clock.slots(rank)
    taken = torch.where(rank < clock.free, clock.eviction(own), rank + clock.stack.shape[-1])
    evicted = torch.where(made, taken.gather(-1, row), known.evicted)
    turn = in_bucket.gather(-1, row.unsqueeze(-2).expand(in_bucket.shape)) + capacity
    dropped = torch.where(made.unsqueeze(-2), turn, known.dropped)
    exists = (made | known.found) & (rank <= evicted) & (in_bucket <= dropped).any(-2)
    return torch.where(made, own.gather(-1, row), known.slots), exists
