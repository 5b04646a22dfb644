"""Ranking metrics of one target among all items, with standard errors over users."""

from typing import final

import torch
from torch import Tensor

from recollect_recsys.metrics.user_metrics import UserMetrics

TOP_K = 10
"""List length of NDCG, hit rate and coverage."""

RECALL_K = 20
"""List length of recall."""

METRICS = ("ndcg@10", "hr@10", "mrr", "recall@20")


@final
class NextItemMetrics(UserMetrics):
    """NDCG@10, HR@10, MRR and recall@20 of one target for each user, with standard errors, and coverage@10.

    For a target of rank r: NDCG@10 is 1/log₂(1 + r) where r ≤ 10 and else 0, HR@10 whether r ≤ 10, MRR 1/r,
    recall@20 whether r ≤ 20. A rank may be half-way, where scores are equal. ``<name>_se`` is the standard
    deviation over users divided by the root of their number. Coverage@10 is the share of the catalogue that
    stands in anybody's first ten. The retrieval metrics of torchmetrics keep all scores, have no mean ranks
    and no standard errors.

    Args:
        items: Number I of items.

    Example:
        >>> metrics = NextItemMetrics(4)
        >>> lists = torch.tensor([[1, 2], [1, 3]])
        >>> metrics.update(torch.tensor([1.0, 3.0]), lists, torch.tensor([5, 9]))
        >>> {name: round(value.item(), 3) for name, value in metrics.compute().items() if "se" not in name}
        {'ndcg@10': 0.75, 'hr@10': 1.0, 'mrr': 0.667, 'recall@20': 1.0, 'coverage@10': 0.75}
    """

    def __init__(self, items: int) -> None:
        super().__init__(items, METRICS, TOP_K)

    def update(self, ranks: Tensor, lists: Tensor, lengths: Tensor) -> None:
        """Add ranks ``(B,)``, lists ``(B, 10)`` padded with 0, and history lengths ``(B,)``.

        Raises:
            ValueError: If a rank is below 1.
        """
        if len(ranks) and not bool((ranks >= 1).all()):
            raise ValueError(f"ranks must be 1 or more, got {float(ranks.min())}")
        self._count(ranking_metrics(ranks.to(self.sums.dtype)), lists, lengths)


def ranking_metrics(ranks: Tensor) -> Tensor:
    """Return NDCG@10, HR@10, MRR and recall@20 for ranks ``(B,)``: ``(4, B)``."""
    listed = (ranks <= TOP_K).to(ranks.dtype)
    return torch.stack(
        [listed / torch.log2(1 + ranks), listed, 1 / ranks, (ranks <= RECALL_K).to(ranks.dtype)]
    )
