"""What torchmetrics lacks: one target among all items, equal scores, standard errors over users."""

from typing import final

import torch
from torch import Tensor
from torchmetrics import Metric

LISTED = 10
"""Length of the list that NDCG, hit rate and coverage are of."""

LONGER = 20
"""Length of the list that recall is of."""

MEASURES = ("ndcg@10", "hr@10", "mrr", "recall@20")

LENGTHS = 12
"""Classes of history length: 0, 1, 2–3, 4–7, …, 1024 and more."""


@final
class NextItemMetrics(Metric):
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

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    users: Tensor
    sums: Tensor
    squares: Tensor
    recommended: Tensor
    by_length: Tensor

    def __init__(self, items: int) -> None:
        super().__init__()
        wide = torch.float64
        self.add_state("users", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(len(MEASURES), dtype=wide), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(len(MEASURES), dtype=wide), dist_reduce_fx="sum")
        self.add_state("recommended", torch.zeros(items + 1, dtype=torch.int64), dist_reduce_fx="sum")
        # Users and their summed NDCG, by length of history.
        self.add_state("by_length", torch.zeros(2, LENGTHS, dtype=wide), dist_reduce_fx="sum")

    def update(self, ranks: Tensor, lists: Tensor, lengths: Tensor) -> None:
        """Count ``(B,)`` ranks, ``(B, 10)`` lists (0: none) and ``(B,)`` lengths of histories.

        Raises:
            ValueError: If a rank is below 1.
        """
        if len(ranks) and not bool((ranks >= 1).all()):
            raise ValueError(f"ranks must be 1 or more, got {float(ranks.min())}")
        values = measures(ranks.to(self.sums.dtype))
        self.users += len(ranks)
        self.sums += values.sum(1)
        self.squares += values.square().sum(1)
        self.recommended += torch.bincount(lists[:, :LISTED].flatten(), minlength=len(self.recommended))
        lengths = length_class(lengths)
        ones = torch.ones_like(values[0])
        self.by_length += torch.stack([ones, values[0]]) @ torch.nn.functional.one_hot(lengths, LENGTHS).to(
            ones
        )

    def compute(self) -> dict[str, Tensor]:
        """The figures by name; empty as long as nobody was measured."""
        count = self.users.to(self.sums.dtype)
        if count == 0:
            return {}
        mean = self.sums / count
        variance = (self.squares / count - mean.square()).clamp_min(0) * count / (count - 1).clamp_min(1)
        error = (variance / count).sqrt()
        found: dict[str, Tensor] = {}
        for place, name in enumerate(MEASURES):
            found |= {name: mean[place].float(), f"{name}_se": error[place].float()}
        found["coverage@10"] = (self.recommended[1:] > 0).float().mean()
        return found


def measures(ranks: Tensor) -> Tensor:
    """NDCG@10, HR@10, MRR and recall@20 for ranks ``(B,)``: ``(4, B)``."""
    listed = (ranks <= LISTED).to(ranks.dtype)
    return torch.stack([listed / torch.log2(1 + ranks), listed, 1 / ranks, (ranks <= LONGER).to(ranks.dtype)])


def length_class(lengths: Tensor) -> Tensor:
    """The class of each history length: 0 for 0, then one for each power of two.

    Example:
        >>> length_class(torch.tensor([0, 1, 2, 3, 4, 5000])).tolist()
        [0, 1, 2, 2, 3, 11]
    """
    # Exact for integers, unlike a logarithm.
    powers = 2 ** torch.arange(LENGTHS - 1, device=lengths.device)
    return torch.bucketize(lengths, powers, right=True)
