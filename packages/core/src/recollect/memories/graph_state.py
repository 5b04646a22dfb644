"""The state of a graph memory: nodes, and a ring of edges between them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recollect.ops.attention import match
from recollect.ops.indexing import mask_repeats, scatter_rows
from recollect.ops.masking import apply_mask
from recollect.state import Entries, State, register_state


@register_state
class Edges(NamedTuple):
    """At most L typed edges between numbered nodes; a new edge overwrites the oldest.

    Attributes:
        source: ``(…, L)`` int64, the node where each edge starts.
        target: ``(…, L)`` int64, the node where it ends.
        relation: ``(…, L)`` int64, its type.
        features: ``(…, L, D)``, its features.
        present: ``(…, L)`` bool; false marks a free position.
        pending: ``(…, L)`` bool, whether its message is still to be applied.
        added: ``(…,)`` int64, number of edges added so far.
    """

    source: Tensor
    target: Tensor
    relation: Tensor
    features: Tensor
    present: Tensor
    pending: Tensor
    added: Tensor


@register_state
class GraphState(NamedTuple):
    """State of a ``GraphMemory``.

    Attributes:
        nodes: State of the storage; node n is its entry n.
        edges: The edges, and which of their messages are still pending.
        last: ``(…,)`` int64, the node that ``forward`` wrote last; −1 for none.
        hidden: ``(…, D)``, h.
        context: ``(…, V)``, c.
    """

    nodes: State
    edges: Edges
    last: Tensor
    hidden: Tensor
    context: Tensor


def empty_edges(*batch: int, size: int, width: int, device: Any, dtype: torch.dtype) -> Edges:
    """No edges, with room for ``size`` edges with features of width ``width``."""
    nowhere = torch.zeros(*batch, size, dtype=torch.int64, device=device)
    free = torch.zeros(*batch, size, dtype=torch.bool, device=device)
    return Edges(
        source=nowhere,
        target=nowhere.clone(),
        relation=nowhere.clone(),
        features=torch.zeros(*batch, size, width, dtype=dtype, device=device),
        present=free,
        pending=free.clone(),
        added=torch.zeros(batch, dtype=torch.int64, device=device),
    )


def add_edges(
    edges: Edges, source: Tensor, target: Tensor, relation: Tensor, features: Tensor, mask: Tensor
) -> Edges:
    """Add E edges in order, each with a pending message, overwriting the oldest past L.

    Args:
        edges: The edges so far.
        source: ``(…, E)`` int64.
        target: ``(…, E)`` int64.
        relation: ``(…, E)`` int64.
        features: ``(…, E, D)``.
        mask: ``(…, E)`` bool; an edge where it is false is not added.
    """
    positions = (edges.added.unsqueeze(-1) + mask.cumsum(-1) - 1) % edges.source.shape[-1]
    last = mask_repeats(positions, mask)
    new = (source, target, relation, features, mask, mask)
    columns = [scatter_rows(old, rows, positions, last) for old, rows in zip(edges[:6], new, strict=True)]
    return Edges._make([*columns, edges.added + mask.sum(-1)])


def remove_nodes(state: GraphState, gone: Tensor) -> GraphState:
    """Remove the edges that start or end at a node that is ``gone``, ``(…, N)`` bool."""
    edges = state.edges
    kept = ~(gone.gather(-1, edges.source) | gone.gather(-1, edges.target))
    edges = edges._replace(present=edges.present & kept, pending=edges.pending & kept)
    lost = (state.last >= 0) & gone.gather(-1, state.last.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    return state._replace(edges=edges, last=state.last.masked_fill(lost, -1))


def find_nodes(nodes: Entries, key: Tensor) -> Tensor:
    """Find the nodes with keys ``(…, Q, K)``: ``(…, Q)`` int64; −1 if there is none."""
    matched = match(key, nodes.keys) * (nodes.filled > 0).unsqueeze(-2)
    highest, best = matched.max(-1)
    return torch.where(highest > 0, best, -1)


def replaced_nodes(before: Entries, key: Tensor, slot: Tensor) -> Tensor:
    """Nodes that a write has replaced by another one: ``(…, N)`` bool.

    A node whose key is written again stays the same node, and keeps its edges.

    Args:
        before: The nodes before the write.
        key: ``(…, 1, K)``, the key that was written.
        slot: ``(…, 1)`` int64, the slot that it was written to.
    """
    slots = torch.arange(before.filled.shape[-1], device=slot.device)
    same = (match(key.detach(), before.keys.detach())[..., 0, :] >= 1) & (before.filled > 0)
    return (slots == slot) & ~same


def add_events(
    edges: Edges,
    filled: Tensor,
    sizes: tuple[int, int],
    source: Tensor,
    target: Tensor,
    relation: Tensor | None,
    features: Tensor | None,
    mask: Tensor | None,
    pending: bool = True,
) -> Edges:
    """Check E events, fill in defaults, and add them as edges; an event without a node is ignored.

    Args:
        edges: The edges so far.
        filled: ``(…, N)`` presence of the nodes.
        sizes: Number R of edge types, and width of edge features.
        source: ``(…, E)`` int64, −1 for no node.
        target: ``(…, E)`` int64.
        relation: ``(…, E)`` int64; 0 by default.
        features: ``(…, E, D)``; zero by default.
        mask: ``(…, E)`` bool; all by default.
        pending: Give each edge a pending message.

    Raises:
        ValueError: If shapes do not match or a number is out of range.
    """
    relations, width = sizes
    mask = torch.ones_like(source, dtype=torch.bool) if mask is None else mask
    relation = torch.zeros_like(source) if relation is None else relation
    features = filled.new_zeros(*source.shape, width) if features is None else features
    if mask.shape == source.shape == target.shape == relation.shape:
        source, target, relation = (n.masked_fill(~mask, 0) for n in (source, target, relation))
    check_events((source, target, relation, mask, features), filled.shape[-1], relations)
    if features.shape[-1] != width:
        raise ValueError(f"features must have width {width}, got {features.shape[-1]}")
    for end in (source, target):
        mask = mask & (end >= 0) & (filled.gather(-1, end.clamp_min(0)) > 0)
    ends = (source.clamp_min(0), target.clamp_min(0))
    new = add_edges(edges, *ends, relation, apply_mask(features, mask), mask)
    return new if pending else new._replace(pending=torch.zeros_like(new.pending))


def check_events(tensors: tuple[Tensor, ...], nodes: int, relations: int) -> None:
    """Check that the tensors of E events match, and that their numbers are in range.

    Args:
        tensors: Source, target, relation and mask ``(…, E)``, zero where masked, and features ``(…, E, D)``.
        nodes: Number N of nodes.
        relations: Number R of edge types.

    Raises:
        ValueError: If they do not match or a number is out of range.
    """
    source, target, relation, mask, features = tensors
    if not source.shape == target.shape == relation.shape == mask.shape == features.shape[:-1]:
        raise ValueError(
            "source, target, relation, mask and features must have the same shape, but for a last axis of "
            f"features; got {[tuple(tensor.shape) for tensor in tensors]}"
        )
    if torch.compiler.is_compiling():
        return  # a compiled graph cannot look at values
    ranges = (
        ("source", source, -1, nodes),
        ("target", target, -1, nodes),
        ("relation", relation, 0, relations),
    )
    for name, numbers, lowest, end in ranges:
        if bool(((numbers < lowest) | (numbers >= end)).any()):
            raise ValueError(f"{name} must be in [{lowest}, {end}), got {numbers.tolist()}")
