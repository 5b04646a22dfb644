"""Which slots W entries are written to: the least recently used ones, or those of the same keys."""

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.ops.inspection import is_traced


def slots_by_use(presence: Tensor, usage: Tensor, live: Tensor) -> Tensor:
    """Slots of W entries: the free ones in order, then the least recently used, over and over.

    Args:
        presence: ``(…, N)``; zero marks a free slot.
        usage: ``(…, N)`` int64, when each entry was last used.
        live: ``(…, W)`` bool; a row where it is false takes no slot, and its slot is arbitrary.

    Returns:
        ``(…, W)`` int64.

    Example:
        >>> presence, usage = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([5, 0, 4])
        >>> slots_by_use(presence, usage, torch.ones(4, dtype=torch.bool))
        tensor([1, 2, 0, 1])
    """
    last_use = torch.where(presence > 0, usage + 1, 0)
    if live.shape[-1] == 1:  # a search is cheaper than a sort
        return last_use.argmin(-1, keepdim=True)
    order = last_use.argsort(dim=-1, stable=True)
    return order.gather(-1, (live.cumsum(-1) - 1).clamp_min(0) % order.shape[-1])


def next_evicted(oldest: Tensor, turn: Tensor, evicts: Tensor, after: Tensor | None, nowhere: int) -> Tensor:
    """Slots of W entries that evict the least recently used, but spare the one they are inserted after.

    A row that finds the entry it comes after at the head of the queue takes the second, if there is one. That
    depends on what the rows before it took. It is refined in rounds until nothing changes, which takes one
    round more than the longest run of rows that spare an entry and the next. Where values cannot be looked at
    there are W rounds.

    Args:
        oldest: ``(…, W + 1)`` int64, slots by last use; ``nowhere`` past the last.
        turn: ``(…, W)`` int64, the number of each row among those that evict.
        evicts: ``(…, W)`` bool.
        after: ``(…, W)`` int64, the entry to spare, −1 for none; ``None`` if there is none at all.
        nowhere: Number of slots.

    Returns:
        ``(…, W)`` int64, arbitrary where nothing is evicted.
    """
    first = oldest.gather(-1, turn)
    if after is None or not turn.shape[-1]:
        return first
    second = oldest.gather(-1, turn + 1)
    rows = torch.arange(turn.shape[-1], device=turn.device)
    before = F.pad(torch.where(evicts, rows, -1).cummax(-1).values[..., :-1], (1, 0), value=-1)
    head = turn  # place in the queue of the least recently used entry, which rows before may have spared
    for _ in range(turn.shape[-1]):
        spares = evicts & (oldest.gather(-1, head) == after) & (second < nowhere)
        row = before.clamp_min(0)
        moved = torch.where((before >= 0) & spares.gather(-1, row), head.gather(-1, row), turn)
        if not is_traced(moved) and torch.equal(moved, head):
            break
        head = moved
    front = oldest.gather(-1, head)
    return torch.where((front == after) & (second < nowhere), second, front)


def slots_by_content(
    presence: Tensor,
    usage: Tensor,
    clock: Tensor,
    same: Tensor,
    alike: Tensor,
    live: Tensor,
    mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """Slots of W upserts: the first entry of the same key, or else a slot as in ``slots_by_use``.

    What a row finds depends on the rows before it, so slots are refined in rounds until nothing changes. Each
    round decides at least one more row, and usually all of them. Where values cannot be looked at there are
    W rounds.

    Args:
        presence: ``(…, N)`` before the first row.
        usage: ``(…, N)`` int64 before the first row.
        clock: ``(…,)`` int64 before the first row.
        same: ``(…, W, N)`` bool, which entries have the same key as each row.
        alike: ``(…, W, W)`` bool, which rows have the same key as each other.
        live: ``(…, W)`` bool, which rows make an entry; the others remove the one they find.
        mask: ``(…, W)`` bool; a row where it is false does nothing.

    Returns:
        Slots ``(…, W)``, and which rows write anything, bool.
    """
    same = same & (presence > 0).unsqueeze(-2)
    if live.shape[-1] == 1:
        found, best = same.any(-1), same.to(torch.uint8).argmax(-1)
        return torch.where(found, best, slots_by_use(presence, usage, live)), mask & (live | found)
    slots, written = _likely_slots(presence, usage, same, alike, live & mask)
    for _ in range(live.shape[-1]):
        before = slots, written
        slots, exists = _find_slots(presence, usage, clock, same, alike, live, *before)
        written = mask & (live | exists)
        if not is_traced(live) and all(
            torch.equal(a, b) for a, b in zip(before, (slots, written), strict=True)
        ):
            break
    return slots, written


def _likely_slots(
    presence: Tensor, usage: Tensor, same: Tensor, alike: Tensor, live: Tensor
) -> tuple[Tensor, Tensor]:
    """The slots if no entry that a row finds is evicted before it."""
    earlier = alike.tril(-1) & live.unsqueeze(-2)
    known, repeated = same.any(-1), earlier.any(-1)
    fresh = live & ~known & ~repeated
    slots = torch.where(known, same.to(torch.uint8).argmax(-1), slots_by_use(presence, usage, fresh))
    first = earlier.to(torch.uint8).argmax(-1) if earlier.numel() else slots
    return torch.where(repeated & ~known, slots.gather(-1, first), slots), live | known


def _find_slots(
    presence: Tensor,
    usage: Tensor,
    clock: Tensor,
    same: Tensor,
    alike: Tensor,
    live: Tensor,
    slots: Tensor,
    written: Tensor,
) -> tuple[Tensor, Tensor]:
    """The slot of each row, and whether it has its key, if the rows before it went to ``slots``."""
    rows = torch.arange(slots.shape[-1], device=slots.device).unsqueeze(-1)
    here = written.unsqueeze(-1) & (
        slots.unsqueeze(-1) == torch.arange(presence.shape[-1], device=slots.device)
    )
    holder = torch.where(here, rows, -1).cummax(-2).values  # (…, W, N): the last row written to each slot
    holder = torch.cat([torch.full_like(holder[..., :1, :], -1), holder[..., :-1, :]], -2)
    replaced, row = holder >= 0, holder.clamp_min(0)
    number = clock.unsqueeze(-1) + written.cumsum(-1) - 1

    def current(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(replaced, new.unsqueeze(-2).expand_as(alike).gather(-1, row), old.unsqueeze(-2))

    taken, last_use = current(live, presence > 0), current(number, usage) + 1
    found = torch.where(replaced, alike.gather(-1, row), same) & taken
    oldest = torch.where(taken, last_use, 0).argmin(-1)
    exists = found.any(-1)
    return torch.where(exists, found.to(torch.uint8).argmax(-1), oldest), exists
