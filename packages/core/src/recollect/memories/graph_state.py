"""The state of a graph memory: nodes, and a fixed number of edges, the oldest giving way."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recollect.state import State, register_state
from recollect.storages.arguments import blank
from recollect.storages.attention import match
from recollect.storages.results import Entries
from recollect.storages.slots import put_rows, without_repeats


@register_state
class Edges(NamedTuple):
    """Typed edges between numbered nodes; L at most, the oldest gives way.

    Attributes:
        source: ``(…, L)`` int64, the node where each begins.
        target: ``(…, L)`` int64, the node where it ends.
        relation: ``(…, L)`` int64, its type.
        features: ``(…, L, D)``, what came with it.
        present: ``(…, L)`` bool; a place where it is false is free.
        pending: ``(…, L)`` bool; whether its message has not been taken in yet.
        made: ``(…,)`` int64, how many edges have been made so far.
    """

    source: Tensor
    target: Tensor
    relation: Tensor
    features: Tensor
    present: Tensor
    pending: Tensor
    made: Tensor


@register_state
class GraphState(NamedTuple):
    """State of a ``GraphMemory``.

    Attributes:
        nodes: State of the storage; node n is its entry n.
        edges: The edges, and which of their messages are still pending.
        last: ``(…,)`` int64, the node that ``forward`` wrote last, −1 for none.
        hidden: ``(…, D)``, h.
        context: ``(…, V)``, c.
    """

    nodes: State
    edges: Edges
    last: Tensor
    hidden: Tensor
    context: Tensor


def no_edges(*batch: int, size: int, width: int, device: Any, dtype: torch.dtype) -> Edges:
    """Room for ``size`` edges with features of width ``width``."""
    nowhere = torch.zeros(*batch, size, dtype=torch.int64, device=device)
    free = torch.zeros(*batch, size, dtype=torch.bool, device=device)
    return Edges(
        source=nowhere,
        target=nowhere.clone(),
        relation=nowhere.clone(),
        features=torch.zeros(*batch, size, width, dtype=dtype, device=device),
        present=free,
        pending=free.clone(),
        made=torch.zeros(batch, dtype=torch.int64, device=device),
    )


def add_edges(
    edges: Edges, source: Tensor, target: Tensor, relation: Tensor, features: Tensor, mask: Tensor
) -> Edges:
    """E more edges in order, each with a pending message; past L, the oldest go.

    Args:
        edges: The edges so far.
        source: ``(…, E)`` int64.
        target: ``(…, E)`` int64.
        relation: ``(…, E)`` int64.
        features: ``(…, E, D)``.
        mask: ``(…, E)`` bool; an edge where it is false is not made.
    """
    places = (edges.made.unsqueeze(-1) + mask.cumsum(-1) - 1) % edges.source.shape[-1]
    once = without_repeats(places, mask)
    new = (source, target, relation, features, mask, mask)
    kept = [put_rows(old, rows, places, once) for old, rows in zip(edges[:6], new, strict=True)]
    return Edges._make([*kept, edges.made + mask.sum(-1)])


def without_nodes(state: GraphState, gone: Tensor) -> GraphState:
    """The state without the edges that begin or end at a node that is ``gone``, ``(…, N)`` bool."""
    edges = state.edges
    kept = ~(gone.gather(-1, edges.source) | gone.gather(-1, edges.target))
    edges = edges._replace(present=edges.present & kept, pending=edges.pending & kept)
    lost = (state.last >= 0) & gone.gather(-1, state.last.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    return state._replace(edges=edges, last=state.last.masked_fill(lost, -1))


def replaced(before: Entries, key: Tensor, slot: Tensor) -> Tensor:
    """Which of the nodes ``before`` have lost their place to a new one: ``(…, N)`` bool.

    Where the same key is written again the node stays the same, and so do its edges.

    Args:
        before: The nodes.
        key: ``(…, 1, K)``, what was written.
        slot: ``(…, 1)`` int64, where it went.
    """
    places = torch.arange(before.filled.shape[-1], device=slot.device)
    same = (match(key.detach(), before.keys.detach())[..., 0, :] >= 1) & (before.filled > 0)
    return (places == slot) & ~same


def record_events(
    edges: Edges,
    filled: Tensor,
    sizes: tuple[int, int],
    source: Tensor,
    target: Tensor,
    relation: Tensor | None,
    features: Tensor | None,
    mask: Tensor | None,
    waiting: bool = True,
) -> Edges:
    """E events as further edges, with defaults filled in and checked; one at no node is no event.

    Args:
        edges: The edges so far.
        filled: ``(…, N)`` presence of the nodes.
        sizes: Number R of edge types, and width of an edge's features.
        source: ``(…, E)`` int64, −1 for no node.
        target: ``(…, E)`` int64.
        relation: ``(…, E)`` int64; 0 by default.
        features: ``(…, E, D)``; zero by default.
        mask: ``(…, E)`` bool; all by default.
        waiting: Whether each has a message that waits.

    Raises:
        ValueError: If shapes do not go together, or numbers are out of range.
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
    new = add_edges(edges, *ends, relation, blank(features, mask), mask)
    return new if waiting else new._replace(pending=torch.zeros_like(new.pending))


def check_events(tensors: tuple[Tensor, ...], nodes: int, relations: int) -> None:
    """What is to be recorded as events fits together, and its numbers are in range.

    Args:
        tensors: Source, target, relation and mask ``(…, E)``, zero where masked, and features ``(…, E, D)``.
        nodes: Number N of nodes.
        relations: Number R of edge types.

    Raises:
        ValueError: If not.
    """
    source, target, relation, mask, features = tensors
    if not source.shape == target.shape == relation.shape == mask.shape == features.shape[:-1]:
        raise ValueError(
            "source, target, relation, mask and features must have the same shape, but for a last axis of "
            f"features; got {[tuple(tensor.shape) for tensor in tensors]}"
        )
    if torch.compiler.is_compiling():
        return  # a compiled graph cannot look at numbers
    ranges = (
        ("source", source, -1, nodes),
        ("target", target, -1, nodes),
        ("relation", relation, 0, relations),
    )
    for name, numbers, lowest, end in ranges:
        if bool(((numbers < lowest) | (numbers >= end)).any()):
            raise ValueError(f"{name} must be in [{lowest}, {end}), got {numbers.tolist()}")
