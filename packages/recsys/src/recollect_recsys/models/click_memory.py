"""Users, items and clicks as nodes and edges of a graph memory."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from recollect import GraphMemory, VectorStorage
from recollect.memories.graph_state import GraphState
from recollect_recsys.models.light_convolution import LightConvolution

SAME = 0.998
"""Cosine from which on two codes are of the same node."""


class ClickGraph(NamedTuple):
    """A graph of clicks, ready to pass messages.

    Attributes:
        state: State of the memory. Node 0 stands for no item, nodes 1 … I are items, then come users.
        adjacency: ``(N, N)`` sparse CSR, symmetric: the normalised adjacency matrix.
        degree: ``(N,)``, at how many edges each node stands.
    """

    state: GraphState
    adjacency: Tensor
    degree: Tensor


@final
class ClickMemory(nn.Module):
    """Nodes are users and items, edges are clicks; a message along an edge weighs 1 / (d_u^a d_i^b).

    The nodes are the slots of a ``GraphMemory``. They are found by random codes, so that whoever is erased is
    found by theirs; nothing of this is learned.

    Args:
        items: Number I of items.
        users: Number of users there is room for.
        clicks: Number of clicks there is room for.
        size: Width V of what a node holds.
        user_power: The exponent a of a user's degree.
        item_power: The exponent b of an item's degree; both are ½ in LightGCN.

    Example:
        >>> memory = ClickMemory(items=2, users=2, clicks=9, size=4)
        >>> graph = memory.build_graph(torch.tensor([[1, 1, 2], [1, 2, 2]]))  # (user, item) pairs
        >>> graph.degree.tolist()
        [0.0, 1.0, 2.0, 2.0, 1.0]
    """

    def __init__(
        self,
        items: int,
        users: int,
        clicks: int,
        size: int,
        user_power: float = 0.5,
        item_power: float = 0.5,
    ) -> None:
        super().__init__()
        self.items = items
        self.nodes = 1 + items + users
        self.user_power = user_power
        self.item_power = item_power
        storage = VectorStorage(size, size, slots=self.nodes, policy="lru", match_start=SAME)
        self.graph = GraphMemory(size, storage, edges=max(clicks, 1), convolution=LightConvolution())
        self.graph.requires_grad_(False)

    def codes(self, first: int, count: int) -> Tensor:
        """What nodes ``first`` and on are written as: ``(count, V)``, the same each time."""
        generator = torch.Generator().manual_seed(first)
        new = torch.randn(count, self.graph.model_size, generator=generator, device="cpu")
        return new.to(self.graph.query_proj.weight)

    @torch.no_grad()
    def build_graph(self, clicks: Tensor) -> ClickGraph:
        """Write all items and users as nodes, and ``clicks`` ``(2, n)``, of users from 1 on, as edges."""
        state = self.graph.initial_state()
        state = self.graph.write(state, self.codes(0, self.nodes))
        state = self.graph.connect(state, clicks[0] + self.items, clicks[1])
        return self.normalize(state)

    def normalize(self, state: GraphState) -> ClickGraph:
        """Weigh the edges of a state by the degrees of their ends."""
        plain = self.graph.adjacency(state)
        begins, others = plain.crow_indices(), plain.col_indices()
        degree = begins.diff().to(plain.dtype)
        weight = torch.where(degree > 0, degree**-self.user_power, 0)
        ends = 1 + self.items
        weight[:ends] = torch.where(degree[:ends] > 0, degree[:ends] ** -self.item_power, 0)
        values = weight.repeat_interleave(begins.diff()) * weight[others]
        return ClickGraph(state, sparse(begins, others, values, tuple(plain.shape)), degree)

    def set_item_values(self, graph: ClickGraph, values: Tensor) -> GraphState:
        """The state with ``values`` ``(I + 1, V)`` in the items' slots, and nothing in those of users."""
        storage, state = self.graph.storage, graph.state
        places = torch.arange(len(graph.degree), device=values.device)
        held = nn.functional.pad(values, (0, 0, 0, len(graph.degree) - len(values)))
        return state._replace(nodes=storage.update(state.nodes, places, held))

    def item_values(self, state: GraphState) -> Tensor:
        """What the items' slots hold: ``(I + 1, V)``."""
        return self.graph.storage.entries(state.nodes).values[: 1 + self.items]

    # --- adding and removing users --------------------------------------------------------------------------

    @torch.no_grad()
    def add_user(self, state: GraphState, code: Tensor) -> tuple[GraphState, int]:
        """One more user, written as ``code`` ``(1, V)``, and which node that is; it takes a free place."""
        state = self.graph.write(state, code)
        return state, int(self.graph.find(state, code))

    @torch.no_grad()
    def add_clicks(self, state: GraphState, node: int, items: Sequence[int]) -> GraphState:
        """Edges between the user at ``node`` and ``items``; past the last place the oldest of all go."""
        target = torch.tensor(list(items), dtype=torch.int64, device=state.edges.source.device)
        return self.graph.connect(state, torch.full_like(target, node), target)

    def items_of_user(self, state: GraphState, node: int) -> Tensor:
        """The items that the user at ``node`` is connected to: ``(S,)``, in order of number."""
        edges = state.edges
        return edges.target[edges.present & (edges.source == node)].sort().values

    @torch.no_grad()
    def remove_user(self, state: GraphState, code: Tensor) -> GraphState:
        """Erase the user who was written as ``code``, with all edges; the place is free again."""
        return self.graph.erase(state, code)


def sparse(begins: Tensor, others: Tensor, values: Tensor, size: tuple[int, ...]) -> Tensor:
    """A CSR matrix with 32-bit indices where they suffice, which multiplies faster."""
    if max(*size, len(others)) < 2**31:
        begins, others = begins.int(), others.int()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            begins, others, values, size, device=values.device, check_invariants=False
        )
