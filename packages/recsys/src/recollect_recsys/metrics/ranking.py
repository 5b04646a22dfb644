"""Ranks of items among the whole catalogue."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

MAX_SCORES = 2**24
"""Number of scores in memory at once: 64 MiB of float32."""


def chunks(rows: int, items: int) -> Iterator[slice]:
    """Split ``rows`` users into parts whose scores of ``items`` items fit in memory."""
    size = max(MAX_SCORES // max(items, 1), 1)
    return (slice(start, start + size) for start in range(0, rows, size))


def mask_seen(scores: Tensor, seen: Tensor) -> Tensor:
    """Set scores ``(B, I + 1)`` of the items ``seen`` ``(B, S)`` to −∞; 0 is padding."""
    return scores.scatter(1, seen, -torch.inf)


def mean_rank(scores: Tensor, target: Tensor) -> Tensor:
    """Return the rank of each target among all items, from 1; equal scores share their mean rank.

    Scores of −∞ are excluded. NaN counts as the worst score, so it never helps.

    Args:
        scores: ``(B, I + 1)``.
        target: ``(B,)`` int64.

    Returns:
        ``(B,)`` float32.

    Example:
        >>> mean_rank(torch.tensor([[-torch.inf, 3.0, 1.0, 1.0, 0.0]]).repeat(2, 1), torch.tensor([1, 2]))
        tensor([1.0000, 2.5000])
    """
    scores = scores.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    own = scores.gather(1, target.unsqueeze(1))
    above = (scores > own).sum(1)
    equal = (scores == own).sum(1) - 1
    return 1 + above + equal / 2


def rank_targets(
    states: Tensor, target: Tensor, seen: Tensor, score: Callable[[Tensor], Tensor], top: int
) -> tuple[Tensor, Tensor]:
    """Return the rank of each target among unseen items, and the ``top`` items of each list.

    Args:
        states: ``(B, D)``.
        target: ``(B,)`` int64.
        seen: ``(B, S)`` int64, excluded items; the target itself is kept.
        score: Maps states ``(n, D)`` to scores ``(n, I + 1)``.
        top: Length of the lists.

    Returns:
        Ranks ``(B,)`` and items ``(B, top)``, padded with 0.
    """
    ranks, lists = [], []
    items = score(states[:1]).shape[1]
    for now in chunks(len(states), items):
        scores = score(states[now])
        own = scores.gather(1, target[now].unsqueeze(1))
        scores = mask_seen(scores, seen[now]).scatter(1, target[now].unsqueeze(1), own)
        ranks.append(mean_rank(scores, target[now]))
        lists.append(top_items(scores, top)[0])
    return torch.cat(ranks), torch.cat(lists)


def top_items(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the best ``count`` items of scores ``(B, I + 1)`` and their scores, padded with 0."""
    best = scores.topk(min(count, scores.shape[1]), 1)
    return best.indices.masked_fill(best.values == -torch.inf, 0), best.values
