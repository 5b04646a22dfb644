"""What storages that find entries by hashing do alike with the few candidates of a key."""

from typing import TypeVar

import torch
from torch import Tensor

from recollect.ops.candidate_attention import decay_presence
from recollect.ops.free_list import release
from recollect.ops.hash_table import Candidates, clear, restamp
from recollect.ops.indexing import mask_repeats, scatter_rows, scatter_rows_
from recollect.ops.masking import zero_empty
from recollect.state import Entries
from recollect.storages.hash_state import HashState
from recollect.storages.linked_state import LinkedState

C = TypeVar("C", HashState, LinkedState)


def erase_candidates(state: C, found: Candidates, lost: Tensor, inplace: bool) -> tuple[C, Tensor]:
    """Multiply the presence of the candidates of E keys by 1 − ``lost``, and free what nothing is left of.

    Args:
        state: Changed if ``inplace``.
        found: The candidates of the keys.
        lost: ``(…, E, C)`` in [0, 1], for one row of each entry that a key finds; else zero.
        inplace: Change ``state`` itself.

    Returns:
        The state, and ``(…, E, C)`` bool: one row of each entry that was freed.
    """
    presence, gone = decay_presence(state.presence, found.slots, lost, found.once, inplace)
    # What frees an entry frees all places at which the key finds it: rows after the first of the entry.
    place = torch.arange(lost.shape[-1], device=lost.device)
    first = torch.where(found.once, place, 0).cummax(-1).values if lost.numel() else found.slots
    gone = gone.gather(-1, first) & found.found
    stamp, free, freed = release(state.stamp, state.free, found.slots, gone, found.once, inplace)
    tables = clear(state.tables, found.positions.flatten(-2), freed.flatten(-2), inplace)
    return state._replace(presence=presence, stamp=stamp, free=free, tables=tables), freed & found.once


def free_slots(state: C, codes: Tensor, slots: Tensor, mask: Tensor, inplace: bool) -> tuple[C, Tensor]:
    """Free the entries at ``slots``, and the places of their indices.

    Args:
        state: Changed if ``inplace``.
        codes: ``(…, n, tables)``, the buckets of the keys at the slots.
        slots: ``(…, n)`` int64; they may repeat.
        mask: ``(…, n)`` bool; a slot where it is false is not freed.
        inplace: Change ``state`` itself.

    Returns:
        The state, and ``(…, n)`` bool: one row of each slot that was freed.
    """
    live, once = mask & (state.stamp.gather(-1, slots) > 0), torch.ones_like(mask)
    last, number = mask_repeats(slots, live), torch.zeros_like(slots)
    tables = restamp(state.tables, state.stamp, codes, slots, number, last, inplace)
    columns = slots.unsqueeze(-1), live.unsqueeze(-1), once.unsqueeze(-1)
    stamp, free, _ = release(state.stamp, state.free, *columns, inplace)
    return state._replace(stamp=stamp, free=free, tables=tables), last


def update_values(state: C, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool) -> C:
    """Replace the values of the entries at ``slots`` ``(…, n)``; the last of those that repeat counts."""
    mask = mask & (state.stamp.gather(-1, slots) > 0)
    scatter = scatter_rows_ if inplace else scatter_rows
    return state._replace(values=scatter(state.values, value, slots, mask_repeats(slots, mask)))


def change_values(state: C, kept: Tensor, added: Tensor) -> C:
    """Change the values M of all entries to ``kept`` ⊙ M + ``added``, both ``(…, N, V)``."""
    values = torch.where(state.stamp.unsqueeze(-1) > 0, kept * state.values + added, state.values)
    return state._replace(values=values)


def stamped_entries(state: C) -> Entries:
    """All N slots; keys and values of free slots are zero."""
    presence = state.presence.masked_fill(state.stamp == 0, 0)
    return Entries(zero_empty(state.keys, presence), zero_empty(state.values, presence), presence)
