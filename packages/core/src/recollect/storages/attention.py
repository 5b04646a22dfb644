"""How entries are compared and weighed: the arithmetic that all storages share."""

import torch
import torch.nn.functional as F
from torch import Tensor


def unit(x: Tensor) -> Tensor:
    """Vectors ``(…, K)`` at length 1; one of zeros stays zero, in half precision too."""
    # 1e-12, which torch takes by default, is 0 in float16.
    return F.normalize(x, dim=-1, eps=max(1e-12, torch.finfo(x.dtype).tiny))


def similarity(query: Tensor, key: Tensor, kind: str) -> Tensor:
    """Similarity of every query with every key.

    Args:
        query: ``(…, Q, K)``.
        key: ``(…, N, K)``.
        kind: ``"cosine"`` or ``"dot"``.

    Returns:
        ``(…, Q, N)``.
    """
    if kind == "cosine":
        query, key = unit(query), unit(key)
    return query @ key.mT


def match(query: Tensor, key: Tensor, start: float = 0.5, full: float = 0.999) -> Tensor:
    """How far two keys mean the same entry: 0 up to cosine ``start``, 1 from ``full`` on, linear between.

    Reaching exactly 1 before cosine 1 makes rounding harmless: a key erased at strength 1 is gone, not nearly
    gone. A zero key matches nothing.

    Args:
        query: ``(…, Q, K)``.
        key: ``(…, N, K)``.
        start: Cosine up to which two keys are dissimilar.
        full: Cosine from which on they are the same.

    Returns:
        ``(…, Q, N)`` in [0, 1], in float32 or wider.
    """
    with torch.autocast(query.device.type, enabled=False):
        wide = torch.promote_types(query.dtype, torch.float32)
        cosine = similarity(query.to(wide), key.to(wide), "cosine")
    return ((cosine - start) / (full - start)).clamp(0, 1)


def attention_weights(scores: Tensor, presence: Tensor) -> Tensor:
    """Weights in proportion to presence · exp(score), summing to 1, or to 0 where nothing is present.

    Args:
        scores: ``(…, Q, N)``.
        presence: ``(…, Q, N)`` or broadcastable, in [0, 1].

    Returns:
        ``(…, Q, N)``, in float32 or wider.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores.masked_fill(presence <= 0, -torch.inf)
    # A row with nothing present has the maximum −∞, and −∞ − (−∞) is not a number.
    highest = scores.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).min)
    weighted = presence * (scores - highest).exp()
    return weighted / weighted.sum(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)
