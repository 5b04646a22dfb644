"""Recall and NDCG of lists with several targets, with standard errors over users."""

from typing import final

import torch
from torch import Tensor

from recollect_recsys.metrics.user_metrics import UserMetrics

TOP_K = 20
"""Length of the lists."""

METRICS = ("recall@20", "ndcg@20")


@final
class ListMetrics(UserMetrics):
    """Recall@20 and NDCG@20 over users, with standard errors, and coverage@20.

    Recall is the share of a user's targets in the list. NDCG is Σ 1 / log₂(1 + r) over the ranks r
    of hits, divided by the ideal value, as in LightGCN's code. ``<name>_se`` is the standard
    deviation over users divided by the root of their number. Coverage is the share of the catalogue in
    any user's list.

    Args:
        items: Number I of items.

    Example:
        >>> metrics = ListMetrics(30)
        >>> lists, targets = torch.arange(1, 21).unsqueeze(0), torch.tensor([[2, 25, 0]])
        >>> metrics.update(lists, targets, torch.tensor([7]))
        >>> {name: round(value.item(), 3) for name, value in metrics.compute().items() if "se" not in name}
        {'recall@20': 0.5, 'ndcg@20': 0.387, 'coverage@20': 0.667}
    """

    def __init__(self, items: int) -> None:
        super().__init__(items, METRICS, TOP_K)

    def update(self, lists: Tensor, targets: Tensor, known: Tensor) -> None:
        """Add lists ``(B, 20)``, targets ``(B, S)``, both padded with 0, and numbers of known items ``(B,)``.

        Raises:
            ValueError: If a user has no target.
        """
        self._count(list_scores(lists, targets), lists, known)


def list_scores(lists: Tensor, targets: Tensor) -> Tensor:
    """Return recall@20 and NDCG@20 of lists ``(B, 20)`` for targets ``(B, S)``: ``(2, B)``.

    Raises:
        ValueError: If a user has no target.
    """
    count = (targets > 0).sum(1)
    if not bool((count > 0).all()):
        raise ValueError("a user without a target cannot be measured")
    lists = lists[:, :TOP_K]
    hits = ((lists.unsqueeze(2) == targets.unsqueeze(1)).any(2) & (lists > 0)).double()
    gains = 1 / torch.log2(torch.arange(2, TOP_K + 2, device=lists.device, dtype=hits.dtype))
    best = gains.cumsum(0)[count.clamp_max(TOP_K) - 1]
    return torch.stack([hits.sum(1) / count, hits @ gains[: lists.shape[1]] / best])
