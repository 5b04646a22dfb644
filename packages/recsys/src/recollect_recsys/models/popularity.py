"""The same list for everybody."""

from typing import final

import torch
from torch import Tensor

from recollect_recsys.models.collaborative import CatalogueSizes, ClickRecommender
from recollect_recsys.types import ClickBatch


@final
class Popularity(ClickRecommender):
    """The score of an item is how many users have it.

    Args:
        sizes: Number of items.
    """

    def __init__(self, sizes: CatalogueSizes) -> None:
        super().__init__()
        self.items = sizes.items

    def precompute(self, clicks: Tensor) -> Tensor:
        """How many users have each item: ``(I + 1,)``."""
        return torch.bincount(clicks[1], minlength=self.items + 1).float()

    def scores(self, precomputed: Tensor, batch: ClickBatch) -> Tensor:
        """The same for all."""
        return precomputed.expand(len(batch.user), -1).clone()
