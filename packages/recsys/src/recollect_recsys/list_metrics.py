"""What torchmetrics lacks: recall and NDCG of a list with several targets, standard errors over users."""

from typing import final

import torch
from torch import Tensor
from torchmetrics import Metric

from recollect_recsys.metrics import LENGTHS, length_class

LISTED = 20
"""Length of the lists."""

MEASURES = ("recall@20", "ndcg@20")


@final
class ListMetrics(Metric):
    """Recall@20 and NDCG@20 over users, with standard errors, and coverage@20.

    Recall is the share of a user's targets that stand in the list. NDCG is Σ 1 / log₂(1 + r) over the ranks r
    of hits, divided by what the best list would have, as in LightGCN's code. ``<name>_se`` is the standard
    deviation over users divided by the root of their number. Coverage is the share of the catalogue that
    stands in anybody's list.

    Args:
        items: Number I of items.

    Example:
        >>> metrics = ListMetrics(30)
        >>> lists, targets = torch.arange(1, 21).unsqueeze(0), torch.tensor([[2, 25, 0]])
        >>> metrics.update(lists, targets, torch.tensor([7]))
        >>> {name: round(value.item(), 3) for name, value in metrics.compute().items() if "se" not in name}
        {'recall@20': 0.5, 'ndcg@20': 0.387, 'coverage@20': 0.667}
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
        # Users and their summed recall, by number of known items.
        self.add_state("by_length", torch.zeros(2, LENGTHS, dtype=wide), dist_reduce_fx="sum")

    def update(self, lists: Tensor, targets: Tensor, known: Tensor) -> None:
        """Count ``(B, 20)`` lists and ``(B, S)`` targets, both with 0 for none, and ``(B,)`` known items.

        Raises:
            ValueError: If a user has no target.
        """
        values = list_measures(lists, targets)
        self.users += len(lists)
        self.sums += values.sum(1)
        self.squares += values.square().sum(1)
        self.recommended += torch.bincount(lists.flatten(), minlength=len(self.recommended))
        classes = torch.nn.functional.one_hot(length_class(known), LENGTHS).to(values)
        self.by_length += torch.stack([torch.ones_like(values[0]), values[0]]) @ classes

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
        found["coverage@20"] = (self.recommended[1:] > 0).float().mean()
        return found


def list_measures(lists: Tensor, targets: Tensor) -> Tensor:
    """Recall@20 and NDCG@20 of lists ``(B, 20)`` for targets ``(B, S)``, 0 for none in both: ``(2, B)``.

    Raises:
        ValueError: If a user has no target.
    """
    count = (targets > 0).sum(1)
    if not bool((count > 0).all()):
        raise ValueError("a user without a target cannot be measured")
    lists = lists[:, :LISTED]
    hits = ((lists.unsqueeze(2) == targets.unsqueeze(1)).any(2) & (lists > 0)).double()
    gains = 1 / torch.log2(torch.arange(2, LISTED + 2, device=lists.device, dtype=hits.dtype))
    best = gains.cumsum(0)[count.clamp_max(LISTED) - 1]
    return torch.stack([hits.sum(1) / count, hits @ gains[: lists.shape[1]] / best])
