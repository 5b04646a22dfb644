"""A filter on a graph of clicks: messages that need no training."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect_recsys.models.click_memory import ClickGraph, ClickMemory, sparse
from recollect_recsys.models.collaborative import (
    CatalogueSizes,
    ClickRecommender,
    popularity_fallback,
    sum_messages,
)
from recollect_recsys.types import ClickBatch

CODE_SIZE = 64
"""Width of the nodes' codes; what a node holds is of no consequence here."""

MORE = 32
"""Vectors that subspace iteration carries beyond those that are wanted."""


class Spectrum(NamedTuple):
    """What a graph lets pass.

    Attributes:
        values: ``(k,)``, the largest eigenvalues of R̃ᵀ R̃, falling.
        vectors: ``(I + 1, k)``, their eigenvectors.
        degree: ``(I + 1,)``, how many users have each item.
        to_users: ``(U, I + 1)`` sparse CSR, messages from items to users.
        to_items: ``(I + 1, U)`` sparse CSR, messages from users to items.
    """

    values: Tensor
    vectors: Tensor
    degree: Tensor
    to_users: Tensor
    to_items: Tensor


class Filter(NamedTuple):
    """A filter for one graph.

    Attributes:
        graph: Its eigenvectors and messages.
        gain: ``(k,)``, what is added to the tail's response for each eigenvector.
        tail: Response to all else is ``tail`` · λ.
        input_weight: ``(I + 1,)``, weight of an item in a user's signal.
        output_weight: ``(I + 1,)``, weight of an item in the scores.
    """

    graph: Spectrum
    gain: Tensor
    tail: float
    input_weight: Tensor
    output_weight: Tensor


@final
class GraphFilter(ClickRecommender):
    """s_u = r_u D^-c f(P) D^c: a user's clicks r_u as a signal on the items, filtered by their graph.

    P = R̃ᵀ R̃ / λ_max with R̃ = D_U^-a R D_I^-½ is a message from items to users and back to items. A low-pass
    filter on it recommends as well as trained graph convolutions do (GF-CF, Shen et al. 2021,
    arXiv:2108.07567: f(λ) = λ, and more for the largest λ; BSPM, Choi et al. 2023, arXiv:2211.09324, sharpens
    what is smoothed). Here f(λ) = λ / (λ + μ), where messages settle that are sent back and forth while μ of
    each is lost, as in ridge regression of the clicks on themselves. It is exact for the ``rank`` largest λ;
    all else gets the straight line from 0 to the last of these, which is one message to users and back.
    Degrees are weighed by a and c. Of several values of μ and c every pair is a candidate for validation.

    Args:
        sizes: Numbers of items, users and clicks.
        rank: Number k of eigenvectors; all of them where the catalogue is no larger.
        loss: μ, one or several.
        user_power: a.
        balance: c, one or several; what is above 0 gives rare items of a user more weight and recommends
            popular ones more.
        tail: Whether there is anything but the k eigenvectors.
        steps: Of subspace iteration.
        seed: Of what it begins with.

    Raises:
        ValueError: If an argument is out of range.
    """

    chosen: Tensor

    def __init__(
        self,
        sizes: CatalogueSizes,
        rank: int = 1024,
        loss: float | Sequence[float] = 0.03,
        user_power: float = 0.3,
        balance: float | Sequence[float] = 0.2,
        tail: bool = True,
        steps: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if rank < 1 or steps < 1:
            raise ValueError(f"rank and steps must be at least 1, got {rank} and {steps}")
        losses = [loss] if isinstance(loss, float | int) else list(loss)
        balances = [balance] if isinstance(balance, float | int) else list(balance)
        if not losses or min(losses) <= 0:
            raise ValueError(f"loss must be positive, got {loss}")
        if not balances:
            raise ValueError("balance must be at least one number")
        self.rank = min(rank, sizes.items)
        self.pairs = list(product(losses, balances))
        self.candidates = len(self.pairs)
        self.register_buffer("chosen", torch.tensor(0))
        self.tail = tail and self.rank < sizes.items
        self.steps = steps
        self.seed = seed
        self.memory = ClickMemory(sizes.items, sizes.users, sizes.clicks, CODE_SIZE, user_power)

    def select_candidate(self, candidate: int) -> None:
        """Go on with a pair of μ and c; it stands in the checkpoint."""
        self.chosen.fill_(min(candidate, self.candidates - 1))

    def selection_notes(self) -> list[str]:
        """The pair of μ and c, where there were several."""
        if self.candidates == 1:
            return []
        loss, balance = self.pairs[int(self.chosen)]
        return [f"loss {loss:g} and balance {balance:g} chosen by validation among {self.candidates} pairs"]

    @torch.no_grad()
    def graph(self, clicks: Tensor) -> Spectrum:
        """The largest eigenvalues of the graph, and its messages."""
        graph = self.memory.build_graph(clicks)
        to_users, to_items = bipartite_messages(graph, self.memory.items)
        values, vectors = self._spectrum(to_users, to_items)
        return Spectrum(values, vectors, graph.degree[: len(vectors)], to_users, to_items)

    @torch.no_grad()
    def precompute(self, clicks: Tensor | Spectrum) -> Filter:
        """What becomes of each eigenvector."""
        graph = clicks if isinstance(clicks, Spectrum) else self.graph(clicks)
        loss, balance = self.pairs[int(self.chosen)]
        largest = graph.values[0].clamp_min(1e-12)
        values = graph.values / largest
        response = values / (values + loss)
        slope = float(response[-1] / values[-1].clamp_min(1e-12)) if self.tail else 0.0
        there = graph.degree > 0
        return Filter(
            graph=graph,
            gain=response - slope * values,
            tail=slope / float(largest),
            input_weight=torch.where(there, graph.degree**-balance, 0),
            output_weight=torch.where(there, graph.degree**balance, 0),
        )

    @torch.no_grad()
    def scores(self, precomputed: Filter, batch: ClickBatch) -> Tensor:
        """Each user's clicks, filtered."""
        vectors = precomputed.graph.vectors
        summed = sum_messages(batch.seen, precomputed.input_weight.unsqueeze(1) * vectors)
        passed = (summed * precomputed.gain) @ vectors.T
        if precomputed.tail:
            signal = torch.zeros_like(passed).scatter_add_(
                1, batch.seen, precomputed.input_weight[batch.seen]
            )
            passed += precomputed.tail * self._propagate(precomputed, signal.T).T
        return popularity_fallback(passed * precomputed.output_weight, batch.seen, precomputed.graph.degree)

    @torch.no_grad()
    def attribution(self, precomputed: Filter, batch: ClickBatch, items: Tensor) -> Tensor:
        """A score is the sum of what a user's items add to it, each by its own message."""
        input_weight = precomputed.input_weight[batch.seen]
        messages = precomputed.graph.vectors[batch.seen] * precomputed.gain
        parts = torch.einsum("bkd,bsd->bks", precomputed.graph.vectors[items], messages)
        if precomputed.tail:
            unique, column = torch.unique(items, return_inverse=True)
            signal = F.one_hot(unique, len(precomputed.input_weight)).to(input_weight.dtype).T
            back = self._propagate(precomputed, signal)  # P is symmetric
            parts += precomputed.tail * back[batch.seen.unsqueeze(1), column.unsqueeze(2)]
        return parts * input_weight.unsqueeze(1) * precomputed.output_weight[items].unsqueeze(2)

    def _propagate(self, precomputed: Filter, signal: Tensor) -> Tensor:
        """A signal on the items ``(I + 1, n)``, after it has gone to their users and back."""
        return precomputed.graph.to_items @ (precomputed.graph.to_users @ signal.contiguous())

    def _spectrum(self, to_users: Tensor, to_items: Tensor) -> tuple[Tensor, Tensor]:
        """The largest eigenvalues of R̃ᵀ R̃, and their vectors, by subspace iteration or from all of it."""
        items = len(to_items)
        if self.rank + MORE >= items:
            values, vectors = torch.linalg.eigh(to_items @ to_users.to_dense())
        else:
            generator = torch.Generator().manual_seed(self.seed)
            start = torch.randn(items, self.rank + MORE, generator=generator, device="cpu")
            basis = torch.linalg.qr(start.to(to_items.device, to_items.dtype))[0]
            for _ in range(self.steps):
                basis = torch.linalg.qr(to_items @ (to_users @ basis))[0]
            projected = to_users @ basis
            values, inner = torch.linalg.eigh(projected.T @ projected)
            vectors = basis @ inner
        return values[-self.rank :].flip(0).clamp_min(0), vectors[:, -self.rank :].flip(1)


def bipartite_messages(graph: ClickGraph, items: int) -> tuple[Tensor, Tensor]:
    """The messages of a graph apart: from items to users ``(U, I + 1)``, and from users to items."""
    begins, others, values = (
        graph.adjacency.crow_indices(),
        graph.adjacency.col_indices(),
        graph.adjacency.values(),
    )
    first = items + 1
    middle, users = int(begins[first]), len(begins) - 1 - first
    to_items = sparse(begins[: first + 1], others[:middle] - first, values[:middle], (first, users))
    to_users = sparse(begins[first:] - middle, others[middle:], values[middle:], (users, first))
    return to_users, to_items
