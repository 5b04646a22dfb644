"""Presence of every entry of a ring buffer after each of T steps, all at once."""

import torch
from torch import Tensor

from recollect.ops.attention import match


def ring_presence(
    old_presence: Tensor,
    old_keys: Tensor,
    clock: Tensor,
    key: Tensor,
    write_strength: Tensor,
    erase_strength: Tensor | None,
    mask: Tensor,
    match_start: float,
) -> Tensor:
    """Presence after each of T steps of erase → write, of the N entries in the ring and the T new ones.

    presence[t, e] = strength[e] · Π_τ (1 − erase[τ] · match(key[τ], key[e])) over the steps τ ≤ t after e was
    written. It is 0 before e is written and once the ring has overwritten it.

    Args:
        old_presence: ``(…, N)``.
        old_keys: ``(…, N, K)``.
        clock: ``(…,)`` int64, number of entries written before.
        key: ``(…, T, K)``.
        write_strength: ``(…, T)``.
        erase_strength: ``(…, T)``, zero where masked, or ``None``.
        mask: ``(…, T)`` bool.
        match_start: As in ``match``.

    Returns:
        ``(…, T, N + T)``.
    """
    slots, steps = old_presence.shape[-1], key.shape[-2]
    time = torch.arange(steps, device=key.device)
    written = mask.cumsum(-1)  # (…, T): entries written up to and including each step
    # An old entry is overwritten once the write position, the clock, has moved on to its slot.
    old_limit = (torch.arange(slots, device=key.device) - clock.unsqueeze(-1)) % slots
    limit = torch.cat([old_limit, written - 1 + slots], -1).unsqueeze(-2)  # (…, 1, N + T)
    begun = torch.cat([time.new_full((slots,), -1), time])  # (N + T,): the step that wrote each entry
    alive = (written.unsqueeze(-1) <= limit) & (begun <= time.unsqueeze(-1))  # (…, T, N + T)
    presence = torch.cat([old_presence.to(write_strength.dtype), write_strength], -1).unsqueeze(-2)
    if erase_strength is not None:
        matched = match(key, torch.cat([old_keys.to(key.dtype), key], -2), match_start)
        lost = erase_strength.unsqueeze(-1) * matched.masked_fill(begun >= time.unsqueeze(-1), 0)
        presence = presence * (1 - lost).cumprod(-2).to(presence.dtype)
    return torch.where(alive, presence, 0)
