"""Popularity baseline."""

from typing import final

import torch
from torch import Tensor

from recollect_recsys.models.collaborative import CatalogueSizes, ClickRecommender
from recollect_recsys.types import ClickBatch


@final
class Popularity(ClickRecommender):
    """Scores each item by its number of users.

    Args:
        sizes: Number of items.
    """

    def __init__(self, sizes: CatalogueSizes) -> None:
        super().__init__()
        self.items = sizes.items

    def precompute(self, clicks: Tensor) -> Tensor:
        """Return the number of users of each item: ``(I + 1,)``."""
        return torch.bincount(clicks[1], minlength=self.items + 1).float()

    def scores(self, precomputed: Tensor, batch: ClickBatch) -> Tensor:
        """Return the same scores for all users."""
        return precomputed.expand(len(batch.user), -1).clone()
