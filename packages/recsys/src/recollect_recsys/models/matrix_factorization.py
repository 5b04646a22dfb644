"""A vector for each user and item, and no messages between them: what a graph memory is compared with."""

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_recsys.models.collaborative import CatalogueSizes, ClickRecommender
from recollect_recsys.types import ClickBatch


class Vectors(NamedTuple):
    """Users ``(U + 1, D)`` and items ``(I + 1, D)``."""

    users: Tensor
    items: Tensor


@final
class MatrixFactorization(ClickRecommender):
    """Score p_u · q_i, or cos(p_u, q_i) / τ: LightGCN without a layer. A new user has the mean of all users.

    Args:
        sizes: Numbers of items and users.
        size: Width D.
        temperature: τ of the cosine; the product itself where it is ``None``.
        std: Standard deviation that vectors begin with.

    Raises:
        ValueError: If ``temperature`` is not positive.
    """

    def __init__(
        self,
        sizes: CatalogueSizes,
        size: int = 64,
        temperature: float | None = 0.2,
        std: float = 0.1,
    ) -> None:
        super().__init__()
        if temperature is not None and temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature
        self.users = nn.Embedding(max(sizes.users, 1), size)
        self.items = nn.Embedding(sizes.items + 1, size)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=std)

    def precompute(self, clicks: Tensor) -> Vectors:
        """Nothing passes along the clicks."""
        users = torch.cat([self.users.weight.mean(0, keepdim=True), self.users.weight])
        if self.temperature is None:
            return Vectors(users, self.items.weight)
        return Vectors(F.normalize(users, dim=1) / self.temperature, F.normalize(self.items.weight, dim=1))

    def embed(self, precomputed: Vectors, batch: ClickBatch) -> tuple[Tensor, Tensor]:
        """The vectors of the users who are asked about, and of all items."""
        return precomputed.users[batch.user], precomputed.items

    def scores(self, precomputed: Vectors, batch: ClickBatch) -> Tensor:
        """Products or cosines."""
        users, items = self.embed(precomputed, batch)
        return users @ items.T
