"""Similarity, matching and attention over entries that may be partly present."""

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.ops.inspection import all_full, can_inspect, sums_finite
from recollect.ops.products import product


def l2_normalize(x: Tensor) -> Tensor:
    """Scale vectors ``(…, K)`` to length 1; a zero vector stays zero, in half precision too."""
    x, norm = with_norm(x)
    return x / norm.unsqueeze(-1)


def with_norm(x: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors ``(…, K)``, scaled where their norm would overflow, and their norms ``(…,)``, never zero."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1)
    if can_inspect(norm) and not sums_finite(norm):
        x = x / x.detach().abs().amax(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        norm = torch.linalg.vector_norm(x, dim=-1)
    # 1e-12, torch's default, is 0 in float16.
    return x, norm.clamp_min(max(1e-12, torch.finfo(norm.dtype).tiny))


def dot_scores(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor | None]:
    """Dot products of every query with every key that do not overflow, and the factor that they lack.

    Args:
        query: ``(…, Q, K)``.
        key: ``(…, N, K)``.

    Returns:
        Scores ``(…, Q, N)``, and a factor ``(…, Q, 1)``; ``None`` for 1. See ``attention_weights``.
    """
    scores = product(query, key.mT)
    if can_inspect(scores) and sums_finite(scores):
        return scores, None
    scale = query.detach().abs().amax(-1, keepdim=True).clamp_min(torch.finfo(query.dtype).tiny)
    return (query / scale) @ key.mT, scale


def similarity(query: Tensor, key: Tensor, kind: str) -> Tensor:
    """Similarity of every query with every key.

    Args:
        query: ``(…, Q, K)``.
        key: ``(…, N, K)``.
        kind: ``"cosine"`` or ``"dot"``.

    Returns:
        ``(…, Q, N)``.
    """
    if kind == "dot":
        return product(query, key.mT)
    if key.dtype == torch.float16:  # where a product with a key that is not normalised may overflow
        return l2_normalize(query) @ l2_normalize(key).mT
    # Dividing N products by the norms of the keys is cheaper than normalising N · K numbers.
    key, norm = with_norm(key)  # norm: (…, N)
    products = product(l2_normalize(query), key.mT)
    return products / norm.unsqueeze(-2)


def match(query: Tensor, key: Tensor, start: float = 0.5, full: float = 0.999) -> Tensor:
    """Degree to which two keys are the same: 0 up to cosine ``start``, 1 from ``full`` on, linear between.

    The degree is exactly 1 already below cosine 1, so that rounding does no harm: erasing a key at strength 1
    removes it completely. A zero key matches nothing.

    Args:
        query: ``(…, Q, K)``.
        key: ``(…, N, K)``.
        start: Cosine up to which two keys are different.
        full: Cosine from which on they are the same.

    Returns:
        ``(…, Q, N)`` in [0, 1], in float32 or wider.
    """
    with torch.autocast(query.device.type, enabled=False):
        wide = torch.promote_types(query.dtype, torch.float32)
        return match_degree(similarity(query.to(wide), key.to(wide), "cosine"), start, full)


def match_degree(cosine: Tensor, start: float, full: float = 0.999) -> Tensor:
    """Degree to which two keys of a given cosine are the same; see ``match``."""
    return ((cosine - start) / (full - start)).clamp(0, 1)


def attention_weights(scores: Tensor, presence: Tensor, scale: Tensor | None = None) -> Tensor:
    """Softmax weighted by presence: weights ∝ presence · exp(scale · score).

    Each row sums to 1, or to 0 where nothing is present.

    Args:
        scores: ``(…, Q, N)``.
        presence: ``(…, Q, N)`` or broadcastable, in [0, 1].
        scale: ``(…, Q, 1)``, a factor that could make scores overflow; 1 by default.

    Returns:
        ``(…, Q, N)``, in float32 or wider.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if scale is None and all_full(presence):
        return scores.softmax(-1)
    scores = scores.masked_fill(presence <= 0, -torch.inf)
    # A row with nothing present has maximum −∞, and −∞ − (−∞) is NaN.
    highest = scores.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).min)
    shifted = scores - highest  # at most zero, so that a scaled one can overflow to −∞ only
    weighted = presence * (shifted if scale is None else shifted * scale).exp()
    return weighted / weighted.sum(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


def presence_bias(presence: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm of presence, to be added to the scores of a softmax, and whether anything is present.

    A softmax over a row with nothing present would be 0/0. The bias of such a row is zero; zero the output
    afterwards.

    Args:
        presence: ``(…, N)`` in [0, 1].

    Returns:
        The bias ``(…, N)``, and ``(…, 1)`` bool.
    """
    present = presence > 0
    found = present.any(-1, keepdim=True)
    bias = presence.clamp_min(torch.finfo(presence.dtype).tiny).log()
    return bias.masked_fill(~present, -torch.inf).masked_fill(~found, 0), found


def presence_attention(query: Tensor, keys: Tensor, values: Tensor, presence: Tensor) -> Tensor:
    """Scaled dot-product attention with weights ∝ presence · exp(query · key); zero if nothing is present.

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
