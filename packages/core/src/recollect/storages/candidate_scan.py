"""Scans of storages that find a few candidates by hashing, at a cost that does not depend on N."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from recollect.ops.candidate_attention import GATHERED, candidate_attention
from recollect.ops.decay_scan import Decays, decay_scan, kept_until
from recollect.ops.hash_table import Candidates
from recollect.ops.indexing import split_rows
from recollect.ops.masking import apply_mask
from recollect.state import map_state
from recollect.storages.scan import ScanSteps, slice_steps


class CandidateStorage(Protocol):
    """What a scan needs from a storage: its verbs, and what they do with candidates."""

    def _candidates(self, state: Any, key: Tensor) -> Candidates: ...

    def _score(self, query: Tensor, keys: Tensor, slots: Tensor, found: Tensor) -> tuple[Tensor, Tensor]: ...

    def _matched(self, key: Tensor, keys: Tensor, slots: Tensor, found: Tensor) -> Tensor: ...

    def _write(
        self, state: Any, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> Any: ...

    def _erase(self, state: Any, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool) -> Any: ...


class Found(NamedTuple):
    """The candidates of T keys among the N old entries and the T that the steps write, by their number.

    Attributes:
        entries: ``(…, T, C)`` int64; 0 where there is none.
        some: ``(…, T, C)`` bool, one row for each entry that is found.
    """

    entries: Tensor
    some: Tensor


class ScanPlan(NamedTuple):
    """What T steps find and leave behind.

    Attributes:
        state: The state after them, with the number of each entry in place of its value.
        read: What the queries find.
        erased: What the erased keys find; ``None`` if nothing is erased.
    """

    state: Any
    read: Found
    erased: Found | None


def scan_candidates(storage: CandidateStorage, state: Any, steps: ScanSteps) -> tuple[Tensor, Any]:
    """Run T steps: one by one to see which entries they find, then all reads at once.

    The first pass changes one copy of the state in place, outside autograd. The second looks keys, values and
    presence up among the N + T entries, each of which is kept once. Beyond the copy and the state that is
    returned, time and memory depend on T and the number of candidates only.

    Args:
        storage: The storage.
        state: The state before.
        steps: All T steps, with a mask, and with strengths that are zero where masked.
    """
    query, key, value, strength, erase_strength, mask = steps
    assert strength is not None
    assert mask is not None
    if not query.shape[-2]:
        return value, state
    plan = plan_candidates(storage, state, steps)
    keys = torch.cat([state.keys, key.to(state.keys.dtype)], -2)  # (…, N + T, K)
    values = torch.cat([state.values, value.to(state.values.dtype)], -2)  # (…, N + T, V)
    presence = torch.cat([state.presence, strength.to(state.presence.dtype)], -1)  # (…, N + T)
    decays = None
    if plan.erased is not None and erase_strength is not None:
        matched = storage._matched(key, keys, *plan.erased)
        kept = (1 - erase_strength.unsqueeze(-1) * matched).to(presence.dtype)
        # Where nothing matches, neither strength nor keys have a gradient.
        decays = decay_scan(plan.erased.entries, kept, plan.erased.some & (matched.detach() > 0))
    time = torch.arange(query.shape[-2], device=query.device).expand(mask.shape)
    size = query.shape[-2] if torch.is_grad_enabled() else _block(plan.read, key, value)
    outputs = []
    for asked, entries, some, step in split_rows(size, query, *plan.read, time):
        scores, found = storage._score(asked, keys, entries, some)
        present = _presence(presence, decays, entries, step.unsqueeze(-1)).masked_fill(~found, 0)
        outputs.append(candidate_attention(values, present, entries, scores).value)
    held = plan.state.values.squeeze(-1)
    keys, values = (rows.take_along_dim(held.unsqueeze(-1), -2) for rows in (keys, values))
    presence = _presence(presence, decays, held, time[..., -1:])
    state = plan.state._replace(keys=keys, values=values, presence=presence)
    return apply_mask(torch.cat(outputs, -2), mask), state


@torch.no_grad()
def plan_candidates(storage: CandidateStorage, state: Any, steps: ScanSteps) -> ScanPlan:
    """Run the steps on a copy of the state that holds the number of each entry in place of its value."""
    size, count = state.presence.shape[-1], steps.query.shape[-2]
    numbers = torch.arange(size + count, device=steps.query.device)
    numbers = numbers.expand(*state.presence.shape[:-1], size + count).unsqueeze(-1)
    state = state._replace(values=numbers[..., :size, :])
    state = map_state(lambda leaf: leaf.clone(memory_format=torch.contiguous_format), state)
    reads, erasures = [], []
    for t in range(count):
        query, key, _, strength, erase_strength, mask = slice_steps(steps, t, t + 1)
        assert strength is not None
        assert mask is not None
        if erase_strength is not None:
            erasures.append(_find(storage, state, key, mask))
            state = storage._erase(state, key, erase_strength, mask, True)
        number = numbers[..., size + t : size + t + 1, :]
        state = storage._write(state, key, number, strength, mask, True)
        reads.append(_find(storage, state, query, mask))
    return ScanPlan(state, _join(reads), _join(erasures) if erasures else None)


def _find(storage: CandidateStorage, state: Any, key: Tensor, mask: Tensor) -> Found:
    slots, _, once, _ = storage._candidates(state, key)
    some = once & mask.unsqueeze(-1)
    entries = state.values.squeeze(-1).gather(-1, slots.flatten(-2)).view_as(slots)
    return Found(entries.masked_fill(~some, 0), some)


def _join(found: list[Found]) -> Found:
    entries, some = (torch.cat(rows, -2) for rows in zip(*found, strict=True))
    return Found(entries, some)


def _presence(presence: Tensor, decays: Decays | None, entries: Tensor, step: Tensor) -> Tensor:
    """Presence of ``entries`` after ``step``, given that ``(…, N + T)`` with which they were written."""
    flat, step = (rows.flatten(presence.dim() - 1) for rows in (entries, step.expand(entries.shape)))
    written = presence.gather(-1, flat)
    if decays is not None:
        written = written * kept_until(decays, flat, step)
    return written.view_as(entries)


def _block(read: Found, key: Tensor, value: Tensor) -> int:
    """How many steps to read at once where nothing is kept for a backward pass."""
    wide = max(1, read.entries[..., :1, :].numel() * max(key.shape[-1], value.shape[-1]))
    return max(1, GATHERED // wide)
