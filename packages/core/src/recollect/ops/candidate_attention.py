"""Reading and erasing among the few candidates that a hash table finds for each query."""

import torch
from torch import Tensor

from recollect.ops.attention import attention_weights, match, similarity
from recollect.ops.indexing import gather_rows
from recollect.ops.masking import apply_mask
from recollect.state import Read


def candidate_attention(
    values: Tensor, presence: Tensor, slots: Tensor, found: Tensor, scores: Tensor
) -> Read:
    """Attention over the candidates of each query, with weights ∝ presence · exp(score).

    Args:
        values: ``(…, N, V)``.
        presence: ``(…, N)``.
        slots: ``(…, Q, C)`` int64, the candidates' slots.
        found: ``(…, Q, C)`` bool, which of the candidates count.
        scores: ``(…, Q, C)``.
    """
    present = presence.gather(-1, slots.flatten(-2)).view_as(slots).masked_fill(~found, 0)
    weights = attention_weights(scores, present)
    rows = apply_mask(gather_rows(values, slots), present > 0)  # (…, Q, C, V)
    return Read((weights.to(rows.dtype).unsqueeze(-2) @ rows).squeeze(-2), weights, slots)


def candidate_cosine(query: Tensor, keys: Tensor, slots: Tensor, found: Tensor) -> Tensor:
    """Cosine of each query with the keys of those of its candidates that are found.

    Args:
        query: ``(…, Q, K)``.
        keys: ``(…, N, K)``.
        slots: ``(…, Q, C)`` int64, the candidates' slots.
        found: ``(…, Q, C)`` bool, which of the candidates count.

    Returns:
        ``(…, Q, C)``; zero where not found.
    """
    rows = apply_mask(gather_rows(keys, slots), found).to(query.dtype)
    return similarity(query.unsqueeze(-2), rows, "cosine").squeeze(-2)


def candidate_match(query: Tensor, keys: Tensor, slots: Tensor, found: Tensor, start: float) -> Tensor:
    """``match`` of each query with those of its candidates that are found, ``(…, Q, C)``; else zero.

    The arguments are those of ``candidate_cosine``, and the ``start`` of ``match``.
    """
    rows = apply_mask(gather_rows(keys, slots), found).to(query.dtype)
    return match(query.unsqueeze(-2), rows, start).squeeze(-2)


def decay_presence(
    presence: Tensor, stamp: Tensor, slots: Tensor, lost: Tensor, inplace: bool
) -> tuple[Tensor, Tensor]:
    """Multiply the presence of n entries by 1 − ``lost``.

    Args:
        presence: ``(…, N)``; changed if ``inplace``.
        stamp: ``(…, N)``, zero for a free slot.
        slots: ``(…, n)`` int64, without repeats among those that lose anything.
        lost: ``(…, n)`` in [0, 1].
        inplace: Change ``presence`` itself.

    Returns:
        The presence ``(…, N)``, and which of the n entries have none left, bool.
    """
    change = -presence.gather(-1, slots) * lost.to(presence.dtype)
    presence = (presence.scatter_add_ if inplace else presence.scatter_add)(-1, slots, change)
    with torch.no_grad():
        gone = (lost > 0) & (presence.gather(-1, slots) <= 0) & (stamp.gather(-1, slots) > 0)
    return presence, gone
