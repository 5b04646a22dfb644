"""Light graph convolution over a memory of clicks; users hold nothing of their own."""

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_recsys.models.click_memory import ClickGraph, ClickMemory
from recollect_recsys.models.collaborative import (
    CatalogueSizes,
    ClickRecommender,
    popularity_fallback,
    sum_messages,
)
from recollect_recsys.types import ClickBatch


class ItemVectors(NamedTuple):
    """What has become of the items.

    Attributes:
        messages: ``(I + 1, D)``, the message of each item to its users, before scaling by the user's degree.
        embeddings: ``(I + 1, D)``, compared with the user's vector.
        degree: ``(I + 1,)``, how many users have each.
    """

    messages: Tensor
    embeddings: Tensor
    degree: Tensor


@final
class LightGCN(ClickRecommender):
    """LightGCN (He et al. 2020, arXiv:2002.02126) whose user nodes begin at zero.

    e_i^(0) is learned, e_u^(0) = 0, e^(k+1) = D^-½ A D^-½ e^(k) over the graph of clicks (eq. 3). A node's
    vector is the mean over k = 0 … K (eq. 4). With users at zero, even layers reach items and odd ones users:
    z_i = (e_i^(0) + e_i^(2) + …) / (K + 1), and x_u = Σ_{i ∈ u} z_i / √(d_u d_i), a message of one step. So a
    user is what they clicked on and nothing else: new ones are served as all others are, and whoever is
    forgotten leaves nothing. Score: x_u · z_i, or cos(x_u, z_i) / τ.

    Args:
        sizes: Numbers of items, users and clicks.
        size: Width D.
        layers: Number K of layers, odd.
        temperature: τ of the cosine; the product itself where it is ``None``.
        std: Standard deviation that e^(0) begins with.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        sizes: CatalogueSizes,
        size: int = 64,
        layers: int = 3,
        temperature: float | None = 0.2,
        std: float = 0.1,
    ) -> None:
        super().__init__()
        if layers < 1 or layers % 2 == 0:
            raise ValueError(f"layers must be odd, since users begin at zero, got {layers}")
        if temperature is not None and temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.layers = layers
        self.temperature = temperature
        self.memory = ClickMemory(sizes.items, sizes.users, sizes.clicks, size)
        self.item_embedding = nn.Embedding(sizes.items + 1, size, padding_idx=0)
        nn.init.normal_(self.item_embedding.weight, std=std)
        with torch.no_grad():
            self.item_embedding.weight[0] = 0

    def graph(self, clicks: Tensor) -> ClickGraph:
        """The memory of ``clicks``, to be kept where they stay the same."""
        return self.memory.build_graph(clicks)

    def precompute(self, clicks: Tensor | ClickGraph) -> ItemVectors:
        """Pass messages from items to users to items, K // 2 times."""
        graph = clicks if isinstance(clicks, ClickGraph) else self.graph(clicks)
        total = self.item_embedding.weight
        state = self.memory.set_item_values(graph, total)
        for _ in range(self.layers // 2):
            state = self.memory.graph.propagate(state, 2, graph.adjacency)
            total = total + self.memory.item_values(state)
        total = total / (self.layers + 1)
        degree = graph.degree[: len(total)]
        embeddings = total if self.temperature is None else F.normalize(total, dim=1)
        return ItemVectors(total / degree.clamp_min(1).sqrt().unsqueeze(1), embeddings, degree)

    def embed(self, precomputed: ItemVectors, batch: ClickBatch) -> tuple[Tensor, Tensor]:
        """Users hear their items: the last layer, for those who are asked about only."""
        summed = sum_messages(batch.seen, precomputed.messages)
        return summed * self._user_scale(summed, batch).unsqueeze(1), precomputed.embeddings

    def scores(self, precomputed: ItemVectors, batch: ClickBatch) -> Tensor:
        """x_u · z_i, or cos(x_u, z_i) / τ."""
        users, items = self.embed(precomputed, batch)
        return popularity_fallback(users @ items.T, batch.seen, precomputed.degree)

    def attribution(self, precomputed: ItemVectors, batch: ClickBatch, items: Tensor) -> Tensor:
        """A score is the sum of what a user's items add to it."""
        messages, embeddings = precomputed.messages[batch.seen], precomputed.embeddings[items]
        scale = self._user_scale(messages.sum(1), batch)
        return torch.einsum("bkd,bsd->bks", embeddings, messages) * scale[:, None, None]

    def _user_scale(self, summed: Tensor, batch: ClickBatch) -> Tensor:
        """What x_u is multiplied by: 1 / √d_u, or 1 / (τ |x_u|)."""
        if self.temperature is not None:
            length: Tensor = torch.linalg.vector_norm(summed, dim=1)
            return length.clamp_min(1e-12).reciprocal() / self.temperature
        degree: Tensor = (batch.seen > 0).sum(1).clamp_min(1).to(summed.dtype)
        return degree.rsqrt()
