"""Presence of every entry after each of T steps of erase → write, all at once, whatever slots are written."""

import torch
from torch import Tensor


def step_presence(
    old_presence: Tensor,
    write_strength: Tensor,
    slots: Tensor,
    mask: Tensor,
    erased: Tensor | None = None,
) -> Tensor:
    """Presence after each of T steps, of N old entries and of the T that the steps write.

    presence[t, e] = strength[e] · Π_τ (1 − erased[τ, e]) over the steps τ ≤ t after e was written. It is 0
    before e is written and once a later step has overwritten its slot.

    Args:
        old_presence: ``(…, N)``, by slot.
        write_strength: ``(…, T)``, zero where masked.
        slots: ``(…, T)`` int64, the slot that each step writes.
        mask: ``(…, T)`` bool, which steps write.
        erased: ``(…, T, N + T)`` in [0, 1], the degree to which each step erases each entry.

    Returns:
        ``(…, T, N + T)``.
    """
    size, steps = old_presence.shape[-1], slots.shape[-1]
    time = torch.arange(steps, device=slots.device)
    begun = torch.cat([time.new_full((size,), -1), time])  # (N + T,): the step that wrote each entry
    ended = torch.cat([_first_write(slots, mask, size), _next_write(slots, mask)], -1)  # (…, N + T)
    alive = (begun <= time.unsqueeze(-1)) & (time.unsqueeze(-1) < ended.unsqueeze(-2))  # (…, T, N + T)
    presence = torch.cat([old_presence.to(write_strength.dtype), write_strength], -1).unsqueeze(-2)
    if erased is not None:
        lost = erased.masked_fill(begun >= time.unsqueeze(-1), 0)
        presence = presence * (1 - lost).cumprod(-2).to(presence.dtype)
    return torch.where(alive, presence, 0)


def keep_largest(presence: Tensor, scores: Tensor, count: int) -> Tensor:
    """Zero all but the ``count`` entries with the largest presence · exp(score); both ``(…, T, M)``."""
    ranking = (scores.float() + presence.float().log()).detach()
    kept = torch.zeros_like(ranking, dtype=torch.bool).scatter(-1, ranking.topk(count, -1).indices, True)
    return torch.where(kept, presence, 0)


def _first_write(slots: Tensor, mask: Tensor, size: int) -> Tensor:
    """The first step that writes each of N slots, T for none: ``(…, N)``."""
    steps = slots.shape[-1]
    time = torch.arange(steps, device=slots.device).expand_as(slots).masked_fill(~mask, steps)
    never = slots.new_full((*slots.shape[:-1], size), steps)
    return never.scatter_reduce(-1, slots, time, "amin")


def _next_write(slots: Tensor, mask: Tensor) -> Tensor:
    """The next step that writes the same slot as each step, T for none: ``(…, T)``; arbitrary if masked."""
    steps = slots.shape[-1]
    # Masked steps get slots of their own, so that they end nothing.
    apart = torch.where(mask, slots, -1 - torch.arange(steps, device=slots.device))
    order = apart.argsort(dim=-1, stable=True)  # by slot, and by time within a slot
    in_order = apart.gather(-1, order)
    same = in_order[..., 1:] == in_order[..., :-1]
    following = order[..., 1:].masked_fill(~same, steps)
    following = torch.cat([following, following.new_full((*slots.shape[:-1], 1), steps)], -1)
    return torch.zeros_like(slots).scatter(-1, order, following)
