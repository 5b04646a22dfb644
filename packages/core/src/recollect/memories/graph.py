"""A graph that remembers: nodes in a storage, messages along typed edges between them."""

from typing import Any, final

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.memories.graph_state import GraphState, no_edges, record_events, replaced, without_nodes
from recollect.memories.neighbourhood import read_near
from recollect.memories.passing import adjacency, message_passing
from recollect.state import State
from recollect.storages.arguments import blank, full_mask
from recollect.storages.attention import match
from recollect.storages.base import Storage
from recollect.storages.results import Read


@final
class GraphMemory(Memory[GraphState]):
    """h_t = f([x_t; c_{t−1}], h_{t−1}); c_t = Attention(W_q h_t, nodes); y_t = tanh(W_c [c_t; h_t]).

    Nodes are the entries of the storage, with keys W_k x and values W_v x. ``connect`` records an event: an
    edge with a type and features, whose message waits, as in temporal graph networks (Rossi et al. 2020,
    arXiv:2006.10637). Before anything is read, the waiting messages of each node are averaged to m_i (see
    ``RelationalMessages``) and taken in, v_i ← GRU(m_i, v_i) (section 3.1 there). ``propagate`` sends
    messages along all edges, once a step. Waiting messages are part of the state, and so of a checkpoint.

    With a ``convolution`` nothing waits: ``propagate`` gives each node with an edge convolution(v, edges).
    ``LGConv()`` makes the memory a light graph convolution (He et al. 2020, arXiv:2002.02126, eq. 3).

    A read attends over all nodes, by the storage's own rule, or over the neighbourhood of a named node only,
    with weight ∝ presence · exp(q · k / √K).

    Args:
        model_size: Width D of what goes in and comes out.
        storage: Where the nodes are kept; it has real keys, ``entries``, ``place`` and ``update``.
        edges: Number L of edges at most. Past it the oldest goes, and its message if that still waits.
        relations: Number R of edge types.
        remember: Whether ``forward`` also writes each x_t as a node, before reading at step t, and connects
            the node of the step before to it, by an edge of type 0.
        convolution: A layer of PyTorch Geometric that takes ``(x, edges)``, the edges as a sparse matrix, and
            keeps the width V.

    Raises:
        ValueError: If an argument is out of range or the storage is not of the kind described.
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

    def __init__(
        self,
        model_size: int,
        storage: Storage,
        edges: int = 256,
        relations: int = 1,
        remember: bool = False,
        convolution: nn.Module | None = None,
    ) -> None:
        super().__init__(model_size, storage, remember)
        if edges < 1 or relations < 1:
            raise ValueError(f"edges and relations must be at least 1, got {edges} and {relations}")
        if storage.integer_keys:
            raise ValueError(
                f"{type(storage).__name__} is set to integer keys; GraphMemory makes keys of real numbers"
            )
        self.edges = edges
        self.relations = relations
        keys, values = storage.key_size, storage.value_size
        self.key = nn.Linear(model_size, keys, bias=False)
        self.value = nn.Linear(model_size, values, bias=False)
        self.query = nn.Linear(model_size, keys, bias=False)
        self.convolution = convolution
        self.passing = message_passing(convolution, values, model_size, relations)
        self.cell = nn.GRUCell(model_size + values, model_size)
        self.output = nn.Linear(values + model_size, model_size, bias=False)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> GraphState:
        """No nodes and no edges; hidden state and context are zero."""
        weight = self.query.weight
        new: dict[str, Any] = {"device": device or weight.device, "dtype": dtype or weight.dtype}
        return GraphState(
            nodes=self.storage.initial_state(*batch, **new),
            edges=no_edges(*batch, size=self.edges, width=self.feature_size, **new),
            last=torch.full(batch, -1, dtype=torch.int64, device=new["device"]),
            hidden=torch.zeros(*batch, self.model_size, **new),
            context=torch.zeros(*batch, self.storage.value_size, **new),
        )

    @property
    def feature_size(self) -> int:
        """Width of an edge's features: D, or 0 with a convolution."""
        return self.model_size if self.convolution is None else 0

    # --- nodes ----------------------------------------------------------------------------------------------

    def write(self, state: GraphState, x: Tensor, mask: Tensor | None = None) -> GraphState:
        """Add nodes ``x`` ``(…, W, D)``; one that takes an older one's place takes none of its edges."""
        mask = full_mask(x, mask)
        if not torch.compiler.is_compiling() and not (state.edges.present.any() or (state.last >= 0).any()):
            x = blank(x, mask)  # no edge can be lost: all at once
            nodes = self.storage.write(state.nodes, self.key(x), self.value(x), mask=mask)
            return without_nodes(state._replace(nodes=nodes), self.storage.entries(nodes).filled <= 0)
        for w in range(x.shape[-2]):
            state, _ = self._add_node(state, x[..., w : w + 1, :], mask[..., w : w + 1])
        return state

    def _add_node(self, state: GraphState, x: Tensor, mask: Tensor) -> tuple[GraphState, Tensor]:
        """One more node ``x`` ``(…, 1, D)``, and which slot it got: ``(…, 1)``, −1 where masked."""
        x = blank(x, mask)
        key = self.key(x)
        before = self.storage.entries(state.nodes)
        nodes, slot = self.storage.place(state.nodes, key, self.value(x), mask=mask)
        gone = replaced(before, key, slot) | (self.storage.entries(nodes).filled <= 0)
        return without_nodes(state._replace(nodes=nodes), gone), slot

    def erase(self, state: GraphState, x: Tensor, mask: Tensor | None = None) -> GraphState:
        """Remove nodes that were written as ``x`` ``(…, E, D)``, with their edges and waiting messages."""
        mask = full_mask(x, mask)
        nodes = self.storage.erase(state.nodes, self.key(blank(x, mask)), mask=mask)
        return without_nodes(state._replace(nodes=nodes), self.storage.entries(nodes).filled <= 0)

    def find(self, state: GraphState, x: Tensor) -> Tensor:
        """Which nodes were written as ``x`` ``(…, Q, D)``: ``(…, Q)`` int64, −1 for none that is like it."""
        entries = self.storage.entries(state.nodes)
        likeness = match(self.key(x), entries.keys) * (entries.filled > 0).unsqueeze(-2)
        highest, best = likeness.max(-1)
        return torch.where(highest > 0, best, -1)

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
        """Record E events, each an edge with a message that waits for the next read.

        Args:
            state: Where they happen.
            source: ``(…, E)`` int64, nodes as ``find`` names them. An event at no node (−1, or a free
                place) is no event.
            target: ``(…, E)`` int64.
            relation: ``(…, E)`` int64 in [0, R); 0 by default.
            features: ``(…, E, D)``; zero by default.
            mask: ``(…, E)`` bool; an event where it is false does not happen.

        Raises:
            ValueError: If a shape does not fit or a number is out of range.
        """
        filled = self.storage.entries(state.nodes).filled
        sizes = (self.relations, self.feature_size)
        events = (source, target, relation, features, mask)
        edges = record_events(state.edges, filled, sizes, *events, waiting=self.convolution is None)
        return state._replace(edges=edges)

    def adjacency(self, state: GraphState) -> Tensor:
        """The edges that are present, as a convolution is given them: see ``recollect.memories.passing``."""
        return adjacency(state.edges, self.storage.entries(state.nodes).filled.shape[-1])

    def propagate(self, state: GraphState, steps: int = 1, heard: Tensor | None = None) -> GraphState:
        """Take in the messages that wait, then send messages along all edges, ``steps`` times.

        Args:
            state: What to start from.
            steps: How often.
            heard: For a convolution, what ``adjacency`` gives, perhaps weighted; made anew by default.
        """
        state = self._settle(state, torch.ones_like(state.last, dtype=torch.bool))
        if steps and heard is None and self.convolution is not None:
            heard = self.adjacency(state)
        for _ in range(steps):
            state = state._replace(nodes=self._pass(state, state.edges.present, heard))
        return state

    def _settle(self, state: GraphState, where: Tensor) -> GraphState:
        """Take in the waiting messages of the batch items ``where`` ``(…,)`` is true."""
        waiting = state.edges.pending & where.unsqueeze(-1)
        if waiting.device.type == "cpu" and not torch.compiler.is_compiling() and not waiting.any():
            return state
        left = state.edges._replace(pending=state.edges.pending & ~waiting)
        return state._replace(nodes=self._pass(state, waiting), edges=left)

    def _pass(self, state: GraphState, active: Tensor, heard: Tensor | None = None) -> State:
        """The nodes after one message along each ``active`` edge ``(…, L)``, or after a convolution."""
        _, values, filled = self.storage.entries(state.nodes)
        new, told = self.passing(values, filled, state.edges, active, heard)
        places = torch.arange(filled.shape[-1], device=filled.device).expand(filled.shape)
        nodes: State = self.storage.update(state.nodes, places, new, told & (filled > 0))
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
        """Recall with ``x`` ``(…, Q, D)`` as h_t: tanh(W_c [c; 0]), zero where nothing is found.

        Waiting messages are seen, as if ``propagate(state, 0)`` had taken them in; the state stays as it is.

        Args:
            state: What to read.
            x: ``(…, Q, D)``.
            mask: ``(…, Q)`` bool.
            nodes: ``(…, Q)`` int64: look only at the neighbourhood of this node; −1 finds nothing. All
                nodes by default.
            hops: How many edges the neighbourhood reaches, in either direction; 0 is the node alone.

        Raises:
            ValueError: If a shape does not fit or ``hops`` is negative.
        """
        mask = full_mask(x, mask)
        read = self._attend(self.propagate(state, 0), self.query(blank(x, mask)), mask, nodes, hops)
        return (read.value @ self.output.weight[:, : self.storage.value_size].mT).tanh()

    def _attend(
        self, state: GraphState, query: Tensor, mask: Tensor, nodes: Tensor | None, hops: int
    ) -> Read:
        if nodes is None:
            return self._observe(self.storage.read(state.nodes, query, mask))
        if nodes.shape != mask.shape or hops < 0:
            raise ValueError(
                f"nodes must have shape {tuple(mask.shape)} and hops must not be negative, "
                f"got {tuple(nodes.shape)} and {hops}"
            )
        entries = self.storage.entries(state.nodes)
        places = torch.arange(entries.filled.shape[-1], device=nodes.device)
        start = (nodes.unsqueeze(-1) == places) & mask.unsqueeze(-1)
        return self._observe(read_near(entries, state.edges, query, start, hops))

    def forward(
        self,
        x: Tensor,
        state: GraphState | None = None,
        mask: Tensor | None = None,
        nodes: Tensor | None = None,
        hops: int = 1,
    ) -> tuple[Tensor, GraphState]:
        """T steps of the recurrence, each with ``nodes`` ``(…, T)`` and ``hops`` as in ``read``."""
        state = self.initial_state(*x.shape[:-2], device=x.device) if state is None else state
        mask = full_mask(x, mask)
        x = blank(x, mask)
        outputs = [x[..., :0, :]]
        for t in range(x.shape[-2]):
            now = slice(t, t + 1)
            named = None if nodes is None else nodes[..., now]
            y, state = self._step(x[..., now, :], state, mask[..., now], named, hops)
            outputs.append(y)
        return torch.cat(outputs, -2), state

    def _step(
        self, x: Tensor, state: GraphState, mask: Tensor, nodes: Tensor | None, hops: int
    ) -> tuple[Tensor, GraphState]:
        if self.remember:
            state = self._remember(state, x, mask)
        state = self._settle(state, mask[..., 0])
        given = torch.cat([x[..., 0, :], state.context], -1)
        hidden = self.cell(given.reshape(-1, given.shape[-1]), state.hidden.reshape(-1, self.model_size))
        hidden = hidden.reshape(state.hidden.shape)
        context = self._attend(state, self.query(hidden).unsqueeze(-2), mask, nodes, hops).value[..., 0, :]
        y = self.output(torch.cat([context, hidden], -1)).tanh().unsqueeze(-2)
        hidden, context = torch.where(mask, hidden, state.hidden), torch.where(mask, context, state.context)
        return blank(y, mask), state._replace(hidden=hidden, context=context)

    def _remember(self, state: GraphState, x: Tensor, mask: Tensor) -> GraphState:
        """Write x_t as a node, and connect the node of the step before to it."""
        state, slot = self._add_node(state, x, mask)
        before = state.last.unsqueeze(-1)
        # A node that was only written again does not follow itself.
        state = self.connect(state, before, slot, mask=mask & (before != slot))
        return state._replace(last=torch.where(mask, slot, before).squeeze(-1))

    def inspect(self, state: GraphState) -> dict[str, Tensor]:
        """The storage's figures, and ``edges`` and ``pending`` ``(…,)``: how many there are, and wait."""
        return {
            **self.storage.inspect(state.nodes),
            "edges": state.edges.present.sum(-1),
            "pending": state.edges.pending.sum(-1),
        }
