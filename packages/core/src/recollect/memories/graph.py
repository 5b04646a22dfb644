"""A graph as memory: nodes in a storage, and messages along typed edges between them."""

from typing import Any, final

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.memories.graph_convolution import adjacency, node_update
from recollect.memories.graph_state import (
    GraphState,
    add_events,
    empty_edges,
    find_nodes,
    remove_nodes,
    replaced_nodes,
)
from recollect.memories.subgraph import subgraph_attention
from recollect.ops.masking import apply_mask, full_mask
from recollect.state import Read, State
from recollect.storages.slot import SlotStorage


@final
class GraphMemory(Memory[GraphState, SlotStorage]):
    """h_t = f([x_t; c_{t−1}], h_{t−1}); c_t = Attention(W_q h_t, nodes); y_t = tanh(W_c [c_t; h_t]).

    Nodes are the entries of the storage, with keys W_k x and values W_v x. ``connect`` records an event: an
    edge with a type, features and a pending message, as in temporal graph networks (Rossi et al. 2020,
    arXiv:2006.10637). Before a read, the pending messages to each node are averaged to m_i (see
    ``RelationalMessagePassing``) and applied: v_i ← GRU(m_i, v_i) (section 3.1 there). ``propagate`` sends
    messages along all edges, once per step. Pending messages are part of the state.

    With a ``convolution`` no message is pending: ``propagate`` updates every node that has edges to
    convolution(v, edges). ``LGConv()`` makes the memory a light graph convolution (He et al. 2020,
    arXiv:2002.02126, eq. 3).

    A read attends over all nodes, as the storage defines it, or over the neighbourhood of a given node, with
    weights ∝ presence · exp(q · k / √K).

    Args:
        model_size: Width D of input and output.
        storage: The storage of the nodes; it has real keys, ``entries``, ``place`` and ``update``.
        edges: Maximum number L of edges. A new edge overwrites the oldest, with its message if still pending.
        relations: Number R of edge types.
        write_on_forward: Let ``forward`` write each x_t as a node before it reads at step t, and connect the
            node of the previous step to it by an edge of type 0.
        convolution: A layer of PyTorch Geometric that takes ``(x, edges)``, the edges as a sparse matrix, and
            keeps the width V.

    Raises:
        ValueError: If an argument is out of range or the storage has integer keys.
        ImportError: If PyTorch Geometric is missing.

    Example:
        >>> from recollect import GraphMemory, VectorStorage
        >>> memory = GraphMemory(8, VectorStorage(8, 8, slots=5), edges=10, relations=2)
        >>> people = torch.randn(1, 3, 8)
        >>> state = memory.write(memory.initial_state(1), people)
        >>> ann, ben, _ = memory.find(state, people).unbind(-1)
        >>> state = memory.connect(state, ann[:, None], ben[:, None], torch.tensor([[1]]))
        >>> memory.read(state, torch.randn(1, 1, 8), nodes=ann[:, None], hops=1).shape
        torch.Size([1, 1, 8])
    """

    storage_type = SlotStorage

    forward_only = ("cell",)

    def __init__(
        self,
        model_size: int,
        storage: SlotStorage,
        edges: int = 256,
        relations: int = 1,
        write_on_forward: bool = False,
        convolution: nn.Module | None = None,
    ) -> None:
        super().__init__(model_size, storage, write_on_forward)
        if edges < 1 or relations < 1:
            raise ValueError(f"edges and relations must be at least 1, got {edges} and {relations}")
        self.edges = edges
        self.relations = relations
        keys, values = storage.key_size, storage.value_size
        self.key_proj = nn.Linear(model_size, keys, bias=False)
        self.value_proj = nn.Linear(model_size, values, bias=False)
        self.query_proj = nn.Linear(model_size, keys, bias=False)
        self.convolution = convolution
        self.node_update = node_update(convolution, values, model_size, relations)
        self.cell = nn.GRUCell(model_size + values, model_size)
        self.out_proj = nn.Linear(values + model_size, model_size, bias=False)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> GraphState:
        """Return a state without nodes and edges, with zero hidden state and context."""
        weight = self.query_proj.weight
        new: dict[str, Any] = {"device": device or weight.device, "dtype": dtype or weight.dtype}
        return GraphState(
            nodes=self.storage.initial_state(*batch, **new),
            edges=empty_edges(*batch, size=self.edges, width=self.feature_size, **new),
            last=torch.full(batch, -1, dtype=torch.int64, device=new["device"]),
            hidden=torch.zeros(*batch, self.model_size, **new),
            context=torch.zeros(*batch, self.storage.value_size, **new),
        )

    @property
    def feature_size(self) -> int:
        """Width of edge features: D, or 0 with a convolution."""
        return self.model_size if self.convolution is None else 0

    # --- nodes ----------------------------------------------------------------------------------------------

    def write(self, state: GraphState, x: Tensor, mask: Tensor | None = None) -> GraphState:
        """Add nodes ``x`` ``(…, W, D)``; a node that overwrites another does not inherit its edges."""
        mask = full_mask(x, mask)
        if not torch.compiler.is_compiling() and not (state.edges.present.any() or (state.last >= 0).any()):
            x = apply_mask(x, mask)  # no edge can be lost, so write all at once
            nodes = self.storage.write(state.nodes, self.key_proj(x), self.value_proj(x), mask=mask)
            return remove_nodes(state._replace(nodes=nodes), self.storage.entries(nodes).filled <= 0)
        for w in range(x.shape[-2]):
            state, _ = self._add_node(state, x[..., w : w + 1, :], mask[..., w : w + 1])
        return state

    def _add_node(self, state: GraphState, x: Tensor, mask: Tensor) -> tuple[GraphState, Tensor]:
        """Add one node ``x`` ``(…, 1, D)``, and return its slot ``(…, 1)``; −1 where masked."""
        x = apply_mask(x, mask)
        key = self.key_proj(x)
        before = self.storage.entries(state.nodes)
        nodes, slot = self.storage.place(state.nodes, key, self.value_proj(x), mask=mask)
        gone = replaced_nodes(before, key, slot) | (self.storage.entries(nodes).filled <= 0)
        return remove_nodes(state._replace(nodes=nodes), gone), slot

    def erase(self, state: GraphState, x: Tensor, mask: Tensor | None = None) -> GraphState:
        """Erase nodes that were written as ``x`` ``(…, E, D)``, with their edges and pending messages."""
        mask = full_mask(x, mask)
        nodes = self.storage.erase(state.nodes, self.key_proj(apply_mask(x, mask)), mask=mask)
        return remove_nodes(state._replace(nodes=nodes), self.storage.entries(nodes).filled <= 0)

    def find(self, state: GraphState, x: Tensor) -> Tensor:
        """Find the nodes that were written as ``x`` ``(…, Q, D)``: ``(…, Q)`` int64; −1 if there is none."""
        return find_nodes(self.storage.entries(state.nodes), self.key_proj(x))

    # --- edges ----------------------------------------------------------------------------------------------

    def connect(
        self,
        state: GraphState,
        source: Tensor,
        target: Tensor,
        relation: Tensor | None = None,
        features: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> GraphState:
        """Record E events, each an edge with a message that is applied before the next read.

        Args:
            state: The state to add the edges to.
            source: ``(…, E)`` int64, nodes as returned by ``find``. Events at −1 or a free slot are ignored.
            target: ``(…, E)`` int64.
            relation: ``(…, E)`` int64 in [0, R); 0 by default.
            features: ``(…, E, D)``; zero by default.
            mask: ``(…, E)`` bool; an event where it is false is ignored.

        Raises:
            ValueError: If a shape is wrong or a number is out of range.
        """
        filled = self.storage.entries(state.nodes).filled
        sizes = (self.relations, self.feature_size)
        events = (source, target, relation, features, mask)
        edges = add_events(state.edges, filled, sizes, *events, pending=self.convolution is None)
        return state._replace(edges=edges)

    def adjacency(self, state: GraphState) -> Tensor:
        """Return the adjacency matrix for a convolution; see ``recollect.memories.graph_convolution``."""
        return adjacency(state.edges, self.storage.entries(state.nodes).filled.shape[-1])

    def propagate(
        self, state: GraphState, steps: int = 1, adjacency_matrix: Tensor | None = None
    ) -> GraphState:
        """Apply pending messages, then send messages along all edges, ``steps`` times.

        Args:
            state: The state to start from.
            steps: Number of steps.
            adjacency_matrix: For a convolution, the result of ``adjacency``, possibly reweighted; computed
                by default.
        """
        state = self._apply_pending(state, torch.ones_like(state.last, dtype=torch.bool))
        if steps and adjacency_matrix is None and self.convolution is not None:
            adjacency_matrix = self.adjacency(state)
        for _ in range(steps):
            nodes = self._update_nodes(state, state.edges.present, adjacency_matrix)
            state = state._replace(nodes=nodes)
        return state

    def _apply_pending(self, state: GraphState, where: Tensor) -> GraphState:
        """Apply the pending messages of batch items where ``where`` ``(…,)`` is true."""
        pending = state.edges.pending & where.unsqueeze(-1)
        if pending.device.type == "cpu" and not torch.compiler.is_compiling() and not pending.any():
            return state
        edges = state.edges._replace(pending=state.edges.pending & ~pending)
        return state._replace(nodes=self._update_nodes(state, pending), edges=edges)

    def _update_nodes(
        self, state: GraphState, active: Tensor, adjacency_matrix: Tensor | None = None
    ) -> State:
        """Send one message along each ``active`` edge ``(…, L)``, or convolve, and return the nodes."""
        _, values, filled = self.storage.entries(state.nodes)
        new, changed = self.node_update(values, filled, state.edges, active, adjacency_matrix)
        slots = torch.arange(filled.shape[-1], device=filled.device).expand(filled.shape)
        nodes: State = self.storage.update(state.nodes, slots, new, changed & (filled > 0))
        return nodes

    # --- reads ----------------------------------------------------------------------------------------------

    def read(
        self,
        state: GraphState,
        x: Tensor,
        mask: Tensor | None = None,
        nodes: Tensor | None = None,
        hops: int = 1,
    ) -> Tensor:
        """Read with ``x`` ``(…, Q, D)`` as h_t: tanh(W_c [c; 0]), zero where nothing is found.

        The read sees pending messages as if ``propagate(state, 0)`` had applied them; the state is unchanged.

        Args:
            state: The state to read.
            x: ``(…, Q, D)``.
            mask: ``(…, Q)`` bool.
            nodes: ``(…, Q)`` int64, read only the neighbourhood of this node; −1 reads nothing. All nodes
                by default.
            hops: Number of edges that the neighbourhood reaches, in either direction; 0 is the node alone.

        Raises:
            ValueError: If a shape is wrong or ``hops`` is negative.
        """
        mask = full_mask(x, mask)
        read = self._attend(self.propagate(state, 0), self.query_proj(apply_mask(x, mask)), mask, nodes, hops)
        return (read.value @ self.out_proj.weight[:, : self.storage.value_size].mT).tanh()

    def _attend(
        self, state: GraphState, query: Tensor, mask: Tensor, nodes: Tensor | None, hops: int
    ) -> Read:
        if nodes is None:
            return self.storage.read(state.nodes, query, mask)
        entries = self.storage.entries(state.nodes)
        read = subgraph_attention(entries, state.edges, query, mask, nodes, hops)
        return self.storage.report_read(state.nodes, read)

    def forward(
        self,
        x: Tensor,
        state: GraphState | None = None,
        mask: Tensor | None = None,
        nodes: Tensor | None = None,
        hops: int = 1,
    ) -> tuple[Tensor, GraphState]:
        """Run T steps of the recurrence, with ``nodes`` ``(…, T)`` and ``hops`` as in ``read``."""
        state = self.initial_state(*x.shape[:-2], device=x.device) if state is None else state
        mask = full_mask(x, mask)
        x = apply_mask(x, mask)
        outputs = [x[..., :0, :]]
        for now in (slice(t, t + 1) for t in range(x.shape[-2])):
            nodes_t = None if nodes is None else nodes[..., now]
            y, state = self._step(x[..., now, :], state, mask[..., now], nodes_t, hops)
            outputs.append(y)
        return torch.cat(outputs, -2), state

    def _step(
        self, x: Tensor, state: GraphState, mask: Tensor, nodes: Tensor | None, hops: int
    ) -> tuple[Tensor, GraphState]:
        if self.write_on_forward:
            state = self._write_step(state, x, mask)
        state = self._apply_pending(state, mask[..., 0])
        inputs = torch.cat([x[..., 0, :], state.context], -1).reshape(-1, self.cell.input_size)
        hidden = self.cell(inputs, state.hidden.reshape(-1, self.model_size)).reshape(state.hidden.shape)
        query = self.query_proj(hidden).unsqueeze(-2)
        context = self._attend(state, query, mask, nodes, hops).value.squeeze(-2)
        y = self.out_proj(torch.cat([context, hidden], -1)).tanh().unsqueeze(-2)
        hidden, context = torch.where(mask, hidden, state.hidden), torch.where(mask, context, state.context)
        return apply_mask(y, mask), state._replace(hidden=hidden, context=context)

    def _write_step(self, state: GraphState, x: Tensor, mask: Tensor) -> GraphState:
        """Write x_t as a node, and connect the node of the previous step to it."""
        state, slot = self._add_node(state, x, mask)
        previous = state.last.unsqueeze(-1)
        # A node that was written again is not connected to itself.
        state = self.connect(state, previous, slot, mask=mask & (previous != slot))
        return state._replace(last=torch.where(mask, slot, previous).squeeze(-1))

    def inspect(self, state: GraphState) -> dict[str, Tensor]:
        """Return the storage's figures, and the numbers of ``edges`` and ``pending`` messages ``(…,)``."""
        return {
            **self.storage.inspect(state.nodes),
            "edges": state.edges.present.sum(-1),
            "pending": state.edges.pending.sum(-1),
        }
