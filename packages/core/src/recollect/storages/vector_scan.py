"""Parallel scans of a ``VectorStorage``, once it is known which slot each step writes."""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recollect.ops.attention import l2_normalize, match, presence_attention
from recollect.ops.indexing import mask_repeats, scatter_rows
from recollect.ops.inspection import can_inspect, is_traced
from recollect.ops.masking import apply_mask
from recollect.ops.slot_scan import keep_largest, step_presence
from recollect.ops.window_attention import window_attention
from recollect.storages.scan import ScanSteps

if TYPE_CHECKING:
    from recollect.storages.vector import VectorStorage
    from recollect.storages.vector_state import VectorState


def scan_window(
    storage: "VectorStorage",
    state: "VectorState",
    query: Tensor,
    key: Tensor,
    value: Tensor,
    strength: Tensor | None,
    mask: Tensor | None,
) -> Tensor:
    """Reads of a ring that nothing is erased from: attention to a sliding window of N entries.

    Args:
        storage: Its policy is ``"ring"``.
        state: The state before.
        query: ``(…, T, K)``.
        key: ``(…, T, K)``.
        value: ``(…, T, V)``.
        strength: ``(…, T)``; ``None`` for 1.
        mask: ``(…, T)`` bool, ``None`` for all steps.

    Returns:
        ``(…, T, V)``.
    """
    order = None
    if mask is not None:  # masked steps move to the end, so that the window slides by one at every step
        order = (~mask).to(torch.uint8).argsort(dim=-1, stable=True)
        strength = mask.to(query.dtype) if strength is None else strength
        query, key, value = (rows.take_along_dim(order.unsqueeze(-1), -2) for rows in (query, key, value))
        strength = strength.gather(-1, order)
    query, key = scale_scores(storage, query, key)
    presence = strength
    if not _is_empty(state.presence):
        old = storage.entries(state)
        # From the oldest entry, which is overwritten next, to the newest.
        age = (state.clock.unsqueeze(-1) + torch.arange(storage.slots, device=key.device)) % storage.slots
        keys, values = (rows.take_along_dim(age.unsqueeze(-1), -2) for rows in old[:2])
        keys = l2_normalize(keys) if storage.similarity == "cosine" else keys
        key, value = torch.cat([keys.to(key.dtype), key], -2), torch.cat([values.to(value.dtype), value], -2)
        strength = query.new_ones(query.shape[:-1]) if strength is None else strength
        presence = torch.cat([old.filled.gather(-1, age).to(strength.dtype), strength], -1)
    output = window_attention(query, key, value, storage.slots, presence)
    if order is None:
        return output
    return torch.zeros_like(output).scatter(-2, order.unsqueeze(-1).expand_as(output), output)


def scan_slots(
    storage: "VectorStorage", state: "VectorState", steps: ScanSteps, size: int
) -> tuple[Tensor, "VectorState"]:
    """Scan under any policy, ``size`` steps at a time.

    Keys and values of the N old and the T new entries are kept once. A block follows which entry each slot
    holds, and is computed again in the backward pass, so that memory does not grow with N · T.

    Args:
        storage: The storage.
        state: The state before.
        steps: All T steps, with a mask, and with strengths that are zero where masked.
        size: Number of steps in a block.
    """
    query, key, value, strength, erase_strength, mask = steps
    assert strength is not None
    assert mask is not None
    old, slots = storage.entries(state), storage.slots
    keys = torch.cat([old.keys.to(key.dtype), key], -2)  # (…, N + T, K)
    values = torch.cat([old.values.to(value.dtype), value], -2)  # (…, N + T, V)
    held = torch.arange(slots, device=key.device).expand(old.filled.shape)  # the entry that each slot holds
    state = state._replace(presence=old.filled.to(strength.dtype))
    outputs = [value[..., :0, :]]
    for first in range(0, query.shape[-2], size):
        rows = slice(first, first + size)
        written, now = strength[..., rows], mask[..., rows]
        erased = None if erase_strength is None else erase_strength[..., rows]
        new = torch.arange(slots + first, slots + first + now.shape[-1], device=key.device).expand(now.shape)
        with torch.no_grad():
            plan = _plan_slots(storage, state, _take(keys, held), key[..., rows, :], written, erased, now)
        placed, writes = plan
        block = partial(_scan_block, storage, plan, now)
        arguments = keys, values, held, new, state.presence, query[..., rows, :], written, erased
        if torch.is_grad_enabled() and size < query.shape[-2] and not is_traced(query):
            output, after = checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)
        else:
            output, after = block(*arguments)
        outputs.append(output)
        last = mask_repeats(placed, writes)
        number = state.clock.unsqueeze(-1) + writes.cumsum(-1) - 1
        held = scatter_rows(held, new, placed, last)
        state = state._replace(
            presence=scatter_rows(after[..., :slots], after[..., slots:], placed, last),
            usage=scatter_rows(state.usage, number, placed, last),
            clock=state.clock + writes.sum(-1),
        )
    keys, values = _take(keys, held).to(old.keys.dtype), _take(values, held).to(old.values.dtype)
    state = state._replace(keys=keys, values=values, presence=state.presence.to(old.filled.dtype))
    return torch.cat(outputs[1:] or outputs, -2), state


def _scan_block(
    storage: "VectorStorage",
    plan: tuple[Tensor, Tensor],
    mask: Tensor,
    keys: Tensor,
    values: Tensor,
    held: Tensor,
    new: Tensor,
    presence: Tensor,
    query: Tensor,
    strength: Tensor,
    erase_strength: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Run b steps over the N entries that the slots hold and the b new ones.

    Args:
        storage: The storage.
        plan: The slots that the steps write ``(…, b)`` int64, and which steps write any, bool.
        mask: ``(…, b)`` bool; a masked step reads zero.
        keys: ``(…, N + T, K)``, keys of all entries.
        values: ``(…, N + T, V)``.
        held: ``(…, N)`` int64, the entry that each slot holds.
        new: ``(…, b)`` int64, the entries that the steps write.
        presence: ``(…, N)``, presence of the entries that the slots hold.
        query: ``(…, b, K)``.
        strength: ``(…, b)``.
        erase_strength: ``(…, b)``, or ``None``.

    Returns:
        What the steps read ``(…, b, V)``, and the presence of the N + b entries after them.
    """
    entries = torch.cat([held, new], -1)
    keys, values = _take(keys, entries), _take(values, entries)
    erased = None
    if erase_strength is not None:
        key = keys[..., held.shape[-1] :, :]
        erased = erase_strength.unsqueeze(-1) * match(key, keys, storage.match_start)
    presence = step_presence(presence, strength, *plan, erased)
    query, keys = scale_scores(storage, query, keys)
    last = presence[..., -1, :]
    if storage.top_k is not None:
        presence = keep_largest(presence, query @ keys.mT, storage.top_k)
    return apply_mask(presence_attention(query, keys, values, presence), mask), last


def scale_scores(storage: "VectorStorage", query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys whose dot product is the score."""
    if storage.similarity == "cosine":
        query, key = l2_normalize(query), l2_normalize(key)
    return query * storage.log_sharpness.exp().to(query.dtype), key


def _plan_slots(
    storage: "VectorStorage",
    state: "VectorState",
    held_keys: Tensor,
    key: Tensor,
    strength: Tensor,
    erase_strength: Tensor | None,
    mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """The slot that each of b steps writes, ``(…, b)``, and which steps write anything, bool.

    ``held_keys`` are those of the slots' entries.
    """
    number = mask.cumsum(-1) - 1  # counts the writes, from zero
    if storage.policy == "ring":
        return (state.clock.unsqueeze(-1) + number) % storage.slots, mask
    if storage.policy == "lru" and erase_strength is None and _all_positive(strength, mask):
        # Free slots first, then the least recently used; once all are used, the same order again.
        order = torch.where(state.presence > 0, state.usage + 1, 0).argsort(dim=-1, stable=True)
        return order.gather(-1, number.clamp_min(0) % storage.slots), mask
    matched = match(key, torch.cat([held_keys, key], -2), storage.match_start)
    return _follow_slots(storage, state, strength, erase_strength, mask, matched)


def _follow_slots(
    storage: "VectorStorage",
    state: "VectorState",
    strength: Tensor,
    erase_strength: Tensor | None,
    mask: Tensor,
    matched: Tensor,
) -> tuple[Tensor, Tensor]:
    """Plan slots step by step, where each depends on what the steps before have erased or overwritten.

    It follows presence and use of the slots, and which entry each holds, but moves neither keys nor values.
    """
    size, clock = storage.slots, state.clock.unsqueeze(-1)
    presence, usage = state.presence, state.usage
    entry = torch.arange(size, device=mask.device).expand_as(usage)  # index into the (N + b) entries
    slots, writes = [usage[..., :0]], [mask[..., :0]]
    for t in range(mask.shape[-1]):
        now, same = slice(t, t + 1), matched[..., t, :].gather(-1, entry)
        if erase_strength is not None:
            presence = presence * (1 - erase_strength[..., now] * same).to(presence.dtype)
        taken = presence > 0
        slot = torch.where(taken, usage + 1, 0).argmin(-1, keepdim=True)
        write = mask[..., now] & (strength[..., now].to(presence.dtype) > 0)
        if storage.policy == "content":
            highest, best = same.masked_fill(~taken, 0).max(-1, keepdim=True)
            slot, write = torch.where(highest >= 1, best, slot), write | (mask[..., now] & (highest >= 1))
        written = strength[..., now].to(presence.dtype), clock, torch.full_like(slot, size + t)
        presence, usage, entry = (
            table.scatter(-1, slot, torch.where(write, new, table.gather(-1, slot)))
            for table, new in zip((presence, usage, entry), written, strict=True)
        )
        clock = clock + write
        slots.append(slot)
        writes.append(write)
    return torch.cat(slots, -1), torch.cat(writes, -1)


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """Rows ``(…, N, *)`` at ``index`` ``(…, n)``."""
    return rows.take_along_dim(index.unsqueeze(-1), -2)


def _all_positive(strength: Tensor, mask: Tensor) -> bool:
    """Whether every entry that is written is present afterwards, as far as Python may look."""
    return can_inspect(strength) and bool((strength.detach() > 0).logical_or(~mask).all())


def _is_empty(presence: Tensor) -> bool:
    """Whether nothing is present. On a GPU the look waits once; a captured graph cannot look."""
    if is_traced(presence):
        return False
    if presence.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    return not bool((presence.detach() > 0).any())
