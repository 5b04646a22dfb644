"""Reading and erasing among the few entries that a hash has found."""

import torch
from torch import Tensor

from recollect.storages.attention import attention_weights, match, similarity
from recollect.storages.places import rows_at
from recollect.storages.results import Read


def read_near(values: Tensor, presence: Tensor, slots: Tensor, found: Tensor, scores: Tensor) -> Read:
    """Attention over the entries found for each query: weight ∝ presence · exp(score).

    Args:
        values: ``(…, N, V)``.
        presence: ``(…, N)``.
        slots: ``(…, Q, C)`` int64.
        found: ``(…, Q, C)`` bool, which of them count.
        scores: ``(…, Q, C)``.
    """
    present = presence.gather(-1, slots.flatten(-2)).view_as(slots).masked_fill(~found, 0)
    weights = attention_weights(scores, present)
    near = rows_at(values, slots)
    return Read((weights.to(near.dtype).unsqueeze(-2) @ near).squeeze(-2), weights, slots)


def cosine_near(query: Tensor, keys: Tensor, slots: Tensor) -> Tensor:
    """Cosine of each query (…, Q, K) with the keys (…, N, K) at its slots (…, Q, C): ``(…, Q, C)``."""
    return similarity(query.unsqueeze(-2), rows_at(keys, slots).to(query.dtype), "cosine").squeeze(-2)


def match_near(query: Tensor, keys: Tensor, slots: Tensor, start: float) -> Tensor:
    """``match`` of each query (…, Q, K) with the keys (…, N, K) at its slots (…, Q, C): ``(…, Q, C)``."""
    return match(query.unsqueeze(-2), rows_at(keys, slots).to(query.dtype), start).squeeze(-2)


def fade(
    presence: Tensor, stamp: Tensor, slots: Tensor, lost: Tensor, inplace: bool
) -> tuple[Tensor, Tensor]:
    """Take the part ``lost`` of the presence of n entries.

    Args:
        presence: ``(…, N)``; changed if ``inplace``.
        stamp: ``(…, N)``, zero for a free place.
        slots: ``(…, n)`` int64, without repeats among those that lose anything.
        lost: ``(…, n)`` in [0, 1].
        inplace: Whether to change ``presence`` itself.

    Returns:
        The presence ``(…, N)``, and which of the n entries have none left now, bool.
    """
    change = -presence.gather(-1, slots) * lost.to(presence.dtype)
    presence = (presence.scatter_add_ if inplace else presence.scatter_add)(-1, slots, change)
    with torch.no_grad():
        gone = (lost > 0) & (presence.gather(-1, slots) <= 0) & (stamp.gather(-1, slots) > 0)
    return presence, gone
