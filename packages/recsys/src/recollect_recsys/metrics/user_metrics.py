"""Means over users with standard errors, and coverage."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

LENGTH_BUCKETS = 12
"""Number of buckets of history length: 0, 1, 2–3, 4–7, …, 1024 and more."""


class UserMetrics(Metric):
    """Means over users of named measures, each with its standard error, and the coverage of lists.

    ``<name>_se`` is the standard deviation over users divided by the root of their number; ``coverage@k`` is
    the share of the catalogue that stands in anybody's list. A subclass computes the measures of a batch and
    passes them to ``_count``.

    Args:
        items: Number I of items.
        names: Names of M measures; the first is also kept by length of history.
        listed: Length k of the lists.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    users: Tensor
    sums: Tensor
    squares: Tensor
    recommended: Tensor
    by_length: Tensor

    def __init__(self, items: int, names: Sequence[str], listed: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.listed = listed
        wide = torch.float64
        self.add_state("users", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(len(names), dtype=wide), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(len(names), dtype=wide), dist_reduce_fx="sum")
        self.add_state("recommended", torch.zeros(items + 1, dtype=torch.int64), dist_reduce_fx="sum")
        # Number of users and sum of the first metric, by history length.
        self.add_state("by_length", torch.zeros(2, LENGTH_BUCKETS, dtype=wide), dist_reduce_fx="sum")

    def _count(self, values: Tensor, lists: Tensor, lengths: Tensor) -> None:
        """Count ``(M, B)`` measures, lists of items (0: none) and ``(B,)`` lengths of histories."""
        self.users += values.shape[1]
        self.sums += values.sum(1)
        self.squares += values.square().sum(1)
        listed = lists[:, : self.listed].flatten()
        self.recommended += torch.bincount(listed, minlength=len(self.recommended))
        classes = torch.nn.functional.one_hot(length_bucket(lengths), LENGTH_BUCKETS).to(values)
        self.by_length += torch.stack([torch.ones_like(values[0]), values[0]]) @ classes

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics by name; empty without users."""
        count = self.users.to(self.sums.dtype)
        if count == 0:
            return {}
        mean = self.sums / count
        variance = (self.squares / count - mean.square()).clamp_min(0) * count / (count - 1).clamp_min(1)
        error = (variance / count).sqrt()
        found: dict[str, Tensor] = {}
        for place, name in enumerate(self.names):
            found |= {name: mean[place].float(), f"{name}_se": error[place].float()}
        found[f"coverage@{self.listed}"] = (self.recommended[1:] > 0).float().mean()
        return found


def length_bucket(lengths: Tensor) -> Tensor:
    """Return the bucket of each history length: 0 for 0, then one per power of two.

    Example:
        >>> length_bucket(torch.tensor([0, 1, 2, 3, 4, 5000])).tolist()
        [0, 1, 2, 2, 3, 11]
    """
    # Exact for integers, unlike a logarithm.
    powers = 2 ** torch.arange(LENGTH_BUCKETS - 1, device=lengths.device)
    return torch.bucketize(lengths, powers, right=True)
