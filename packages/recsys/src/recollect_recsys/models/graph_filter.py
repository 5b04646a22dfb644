"""A filter on a graph of clicks: messages that need no training."""

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect_recsys.data.clicks import ClickBatch
from recollect_recsys.models.click_memory import ClickGraph, ClickMemory, sparse
from recollect_recsys.models.click_recommender import (
    CatalogueSizes,
    ClickRecommender,
    heard_by,
    or_popular,
)

CODE_SIZE = 64
"""Width of the nodes' codes; what a node holds is of no consequence here."""

MORE = 32
"""Vectors that subspace iteration carries beyond those that are wanted."""


class Filter(NamedTuple):
    """A filter for one graph.

    Attributes:
        vectors: ``(I + 1, k)``, eigenvectors of P.
        gain: ``(k,)``, what is added to the tail's response for each.
        tail: Response to all else is ``tail`` · λ.
        degree: ``(I + 1,)``, how many users have each item.
        give: ``(I + 1,)``, weight of an item that a user has.
        take: ``(I + 1,)``, weight of an item that is asked about.
        to_users: ``(U, I + 1)`` sparse CSR, messages from items to users.
        to_items: ``(I + 1, U)`` sparse CSR, messages from users to items.
    """

    vectors: Tensor
    gain: Tensor
    tail: float
    degree: Tensor
    give: Tensor
    take: Tensor
    to_users: Tensor
    to_items: Tensor


@final
class GraphFilter(ClickRecommender):
    """s_u = r_u D^-c f(P) D^c: a user's clicks r_u as a signal on the items, filtered by their graph.

    P = R̃ᵀ R̃ / λ_max with R̃ = D_U^-a R D_I^-½ is a message from items to users and back to items. A low-pass
    filter on it recommends as well as trained graph convolutions do (GF-CF, Shen et al. 2021,
    arXiv:2108.07567: f(λ) = λ, and more for the largest λ; BSPM, Choi et al. 2023, arXiv:2211.09324, sharpens
    what is smoothed). Here f(λ) = λ / (λ + μ), where messages settle that are sent back and forth while μ of
    each is lost, as in ridge regression of the clicks on themselves. It is exact for the ``rank`` largest λ;
    all else gets the straight line from 0 to the last of these, which is one message to users and back.
    Degrees are weighed by a and c.

    Args:
        sizes: Numbers of items, users and clicks.
        rank: Number k of eigenvectors; all of them where the catalogue is no larger.
        loss: μ.
        user_power: a.
        balance: c; what is above 0 gives rare items of a user more weight and recommends popular ones more.
        tail: Whether there is anything but the k eigenvectors.
        steps: Of subspace iteration.
        seed: Of what it begins with.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        sizes: CatalogueSizes,
        rank: int = 1024,
        loss: float = 0.03,
        user_power: float = 0.3,
        balance: float = 0.2,
        tail: bool = True,
        steps: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if rank < 1 or steps < 1:
            raise ValueError(f"rank and steps must be at least 1, got {rank} and {steps}")
        if loss <= 0:
            raise ValueError(f"loss must be positive, got {loss}")
        self.rank = min(rank, sizes.items)
        self.loss = loss
        self.balance = balance
        self.tail = tail and self.rank < sizes.items
        self.steps = steps
        self.seed = seed
        self.memory = ClickMemory(sizes.items, sizes.users, sizes.clicks, CODE_SIZE, user_power)

    @torch.no_grad()
    def settle(self, clicks: Tensor) -> Filter:
        """The largest eigenvectors of the graph, and what becomes of each."""
        graph = self.memory.remember(clicks)
        to_users, to_items = halves(graph, self.memory.items)
        values, vectors = self._spectrum(to_users, to_items)
        largest = values[0].clamp_min(1e-12)
        values = values / largest
        response = values / (values + self.loss)
        slope = float(response[-1] / values[-1].clamp_min(1e-12)) if self.tail else 0.0
        degree = graph.degree[: len(vectors)]
        there = degree > 0
        return Filter(
            vectors=vectors,
            gain=response - slope * values,
            tail=slope / float(largest),
            degree=degree,
            give=torch.where(there, degree**-self.balance, 0),
            take=torch.where(there, degree**self.balance, 0),
            to_users=to_users,
            to_items=to_items,
        )

    @torch.no_grad()
    def scores(self, settled: Filter, batch: ClickBatch) -> Tensor:
        """Each user's clicks, filtered."""
        heard = heard_by(batch.seen, settled.give.unsqueeze(1) * settled.vectors)
        passed = (heard * settled.gain) @ settled.vectors.T
        if settled.tail:
            signal = torch.zeros_like(passed).scatter_add_(1, batch.seen, settled.give[batch.seen])
            passed += settled.tail * self._there_and_back(settled, signal.T).T
        return or_popular(passed * settled.take, batch.seen, settled.degree)

    @torch.no_grad()
    def reasons(self, settled: Filter, batch: ClickBatch, items: Tensor) -> Tensor:
        """A score is the sum of what a user's items add to it, each by its own message."""
        give = settled.give[batch.seen]
        told = settled.vectors[batch.seen] * settled.gain
        parts = torch.einsum("bkd,bsd->bks", settled.vectors[items], told)
        if settled.tail:
            asked, column = torch.unique(items, return_inverse=True)
            signal = F.one_hot(asked, len(settled.give)).to(give.dtype).T
            back = self._there_and_back(settled, signal)  # P is symmetric
            parts += settled.tail * back[batch.seen.unsqueeze(1), column.unsqueeze(2)]
        return parts * give.unsqueeze(1) * settled.take[items].unsqueeze(2)

    def _there_and_back(self, settled: Filter, signal: Tensor) -> Tensor:
        """A signal on the items ``(I + 1, n)``, after it has gone to their users and back."""
        return settled.to_items @ (settled.to_users @ signal.contiguous())

    def _spectrum(self, to_users: Tensor, to_items: Tensor) -> tuple[Tensor, Tensor]:
        """The largest eigenvalues of R̃ᵀ R̃, and their vectors, by subspace iteration or from all of it."""
        items = len(to_items)
        if self.rank + MORE >= items:
            values, vectors = torch.linalg.eigh(to_items @ to_users.to_dense())
        else:
            start = torch.randn(items, self.rank + MORE, generator=torch.Generator().manual_seed(self.seed))
            basis = torch.linalg.qr(start.to(to_items.device, to_items.dtype))[0]
            for _ in range(self.steps):
                basis = torch.linalg.qr(to_items @ (to_users @ basis))[0]
            told = to_users @ basis
            values, inner = torch.linalg.eigh(told.T @ told)
            vectors = basis @ inner
        return values[-self.rank :].flip(0).clamp_min(0), vectors[:, -self.rank :].flip(1)


def halves(graph: ClickGraph, items: int) -> tuple[Tensor, Tensor]:
    """The messages of a graph apart: from items to users ``(U, I + 1)``, and from users to items."""
    begins, others, values = graph.heard.crow_indices(), graph.heard.col_indices(), graph.heard.values()
    first = items + 1
    middle, users = int(begins[first]), len(begins) - 1 - first
    to_items = sparse(begins[: first + 1], others[:middle] - first, values[:middle], (first, users))
    to_users = sparse(begins[first:] - middle, others[middle:], values[middle:], (users, first))
    return to_users, to_items
