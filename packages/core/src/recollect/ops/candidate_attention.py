"""Reading and erasing among the few candidates that a hash table finds for each query."""

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.ops.attention import (
    attention_weights,
    l2_normalize,
    match,
    match_degree,
    similarity,
    with_norm,
)
from recollect.ops.indexing import flat_rows, gather_rows
from recollect.ops.inspection import can_inspect
from recollect.ops.masking import apply_mask
from recollect.state import Read

GATHERED = 1 << 23
"""Numbers gathered at once from the candidates' keys when many keys are erased: about what a cache holds."""


def rows_at_once(mask: Tensor, table_shape: tuple[int, int, int], key_size: int) -> int:
    """How many of E keys, given their mask ``(…, E)``, to compare with their candidates at once."""
    tables, _, capacity = table_shape
    wide = tables * capacity * key_size * max(1, mask.shape[:-1].numel())
    return max(1, GATHERED // wide)


def candidate_presence(presence: Tensor, slots: Tensor, found: Tensor) -> Tensor:
    """Presence ``(…, N)`` of candidates at ``slots`` ``(…, Q, C)``; zero where they are not ``found``."""
    return presence.gather(-1, slots.flatten(-2)).view_as(slots).masked_fill(~found, 0)


def candidate_attention(values: Tensor, present: Tensor, slots: Tensor, scores: Tensor) -> Read:
    """Attention over the candidates of each query, with weights ∝ presence · exp(score).

    Args:
        values: ``(…, N, V)``.
        present: ``(…, Q, C)``, presence of the candidates.
        slots: ``(…, Q, C)`` int64, their slots.
        scores: ``(…, Q, C)``.
    """
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
    rows = _candidate_rows(query, keys, slots, found)
    return similarity(query.unsqueeze(-2), rows, "cosine").squeeze(-2).masked_fill(~found, 0)


def candidate_match(query: Tensor, keys: Tensor, slots: Tensor, found: Tensor, start: float) -> Tensor:
    """``match`` of each query with those of its candidates that are found, ``(…, Q, C)``; else zero.

    The arguments are those of ``candidate_cosine``, and the ``start`` of ``match``.
    """
    if can_inspect(found) and not torch.is_grad_enabled():
        return _match_found(query, keys, slots, found, start)
    rows = _candidate_rows(query, keys, slots, found)
    return match(query.unsqueeze(-2), rows, start).squeeze(-2).masked_fill(~found, 0)


def _match_found(query: Tensor, keys: Tensor, slots: Tensor, found: Tensor, start: float) -> Tensor:
    """``candidate_match`` that looks up found candidates only, often half of them; it has no gradient."""
    wide = torch.promote_types(query.dtype, torch.float32)
    place = found.flatten().nonzero().squeeze(-1)
    row = torch.div(place, found.shape[-1], rounding_mode="floor")
    with torch.autocast(query.device.type, enabled=False):
        of_query = l2_normalize(query.to(wide)).flatten(0, -2).index_select(0, row)
        table, at = flat_rows(keys, slots)
        of_key, norm = with_norm(F.embedding(at.flatten().index_select(0, place), table).to(wide))
        degree = match_degree(of_query.mul_(of_key).sum(-1) / norm, start)
    return degree.new_zeros(found.numel()).index_copy_(0, place, degree).view(found.shape)


def _candidate_rows(query: Tensor, keys: Tensor, slots: Tensor, found: Tensor) -> Tensor:
    """Keys ``(…, Q, C, K)`` of candidates; zero where not found if a gradient could meet a NaN there."""
    rows = gather_rows(keys, slots).to(query.dtype)
    return apply_mask(rows, found) if torch.is_grad_enabled() else rows


def decay_presence(
    presence: Tensor, slots: Tensor, lost: Tensor, once: Tensor, inplace: bool
) -> tuple[Tensor, Tensor]:
    """Multiply the presence of the candidates of E keys by 1 − ``lost``.

    Args:
        presence: ``(…, N)``; changed if ``inplace``.
        slots: ``(…, E, C)`` int64, the candidates' slots.
        lost: ``(…, E, C)`` in [0, 1].
        once: ``(…, E, C)`` bool, one row of each candidate of a key.
        inplace: Change ``presence`` itself.

    Returns:
        The presence ``(…, N)``, and ``(…, E, C)`` bool: the rows that leave nothing of an entry.
    """
    kept = (1 - lost).to(presence.dtype)
    factor = torch.where(once, kept, 1).flatten(-2)
    reduce = presence.scatter_reduce_ if inplace else presence.scatter_reduce
    return reduce(-1, slots.flatten(-2), factor, "prod"), kept.detach() <= 0
