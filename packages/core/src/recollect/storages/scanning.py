"""Parallel scans: T steps of erase → write → read at once."""

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.storages.attention import match


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
    """Presence of every entry after each step: of the N that a ring holds, then of the T that are written.

    presence[t, e] = strength[e] · Π_τ (1 − erase[τ] · match(key[τ], key[e])) over the steps τ ≤ t that came
    after e was written, and 0 before it is written and once the ring has come round to its place.

    Args:
        old_presence: ``(…, N)``.
        old_keys: ``(…, N, K)``.
        clock: ``(…,)`` int64, entries written before.
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
    # An old entry lives until as many writes have come as there are places from the clock's to its own.
    old_limit = (torch.arange(slots, device=key.device) - clock.unsqueeze(-1)) % slots
    limit = torch.cat([old_limit, written - 1 + slots], -1).unsqueeze(-2)  # (…, 1, N + T)
    begun = torch.cat([time.new_full((slots,), -1), time])
    alive = (written.unsqueeze(-1) <= limit) & (begun <= time.unsqueeze(-1))
    presence = torch.cat([old_presence.to(write_strength.dtype), write_strength], -1).unsqueeze(-2)
    if erase_strength is not None:
        matched = match(key, torch.cat([old_keys.to(key.dtype), key], -2), match_start)
        lost = erase_strength.unsqueeze(-1) * matched.masked_fill(begun >= time.unsqueeze(-1), 0)
        presence = presence * (1 - lost).cumprod(-2).to(presence.dtype)
    return torch.where(alive, presence, 0)


def presence_bias(presence: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm of presence, for a softmax to add to its scores, and whether anything is present at all.

    A row with nothing present would be 0/0: its bias is zero, so that it looks at everything, and what comes
    of it must be blanked afterwards.

    Args:
        presence: ``(…, N)`` in [0, 1].

    Returns:
        ``(…, N)`` and ``(…, 1)`` bool.
    """
    present = presence > 0
    found = present.any(-1, keepdim=True)
    bias = presence.clamp_min(torch.finfo(presence.dtype).tiny).log()
    return bias.masked_fill(~present, -torch.inf).masked_fill(~found, 0), found


def presence_attention(query: Tensor, keys: Tensor, values: Tensor, presence: Tensor) -> Tensor:
    """Attention with weight ∝ presence · exp(query · key); zero where nothing is present.

    Args:
        query: ``(…, Q, K)``, already scaled.
        keys: ``(…, N, K)``.
        values: ``(…, N, V)``.
        presence: ``(…, Q, N)`` in [0, 1].

    Returns:
        ``(…, Q, V)``.
    """
    bias, found = presence_bias(presence)
    output = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias.to(query.dtype), scale=1.0)
    return output.masked_fill(~found, 0)
