"""Attention over the neighbourhood of a node."""

import torch
from torch import Tensor

from recollect.memories.graph_state import Edges
from recollect.ops.attention import attention_weights, similarity
from recollect.state import Entries, Read


def subgraph_attention(
    entries: Entries, edges: Edges, query: Tensor, mask: Tensor, nodes: Tensor, hops: int
) -> Read:
    """Attend to the neighbourhood of one node per query, with weights ∝ presence · exp(q · k / √K).

    Args:
        entries: The nodes.
        edges: The edges between them.
        query: ``(…, Q, K)``.
        mask: ``(…, Q)`` bool; a query where it is false reads nothing.
        nodes: ``(…, Q)`` int64, the node whose neighbourhood each query attends to; −1 reads nothing.
        hops: Number of edges that the neighbourhood reaches.

    Raises:
        ValueError: If ``nodes`` has the wrong shape or ``hops`` is negative.
    """
    if nodes.shape != mask.shape or hops < 0:
        raise ValueError(
            f"nodes must have shape {tuple(mask.shape)} and hops must not be negative, "
            f"got {tuple(nodes.shape)} and {hops}"
        )
    keys, values, filled = entries
    slots = torch.arange(filled.shape[-1], device=nodes.device)
    start = (nodes.unsqueeze(-1) == slots) & mask.unsqueeze(-1)  # (…, Q, N)
    reached = k_hop_nodes(edges, start, hops)
    scores = similarity(query, keys.to(query.dtype), "dot") / keys.shape[-1] ** 0.5
    weights = attention_weights(scores, filled.unsqueeze(-2) * reached)
    return Read(weights.to(values.dtype) @ values, weights, None)


def k_hop_nodes(edges: Edges, start: Tensor, hops: int) -> Tensor:
    """Nodes that are at most ``hops`` edges away, in either direction.

    Args:
        edges: The edges.
        start: ``(…, Q, N)`` bool, the nodes to start from.
        hops: Number of edges to follow; 0 returns ``start``.

    Returns:
        ``(…, Q, N)`` bool.
    """
    reached = start
    shape = (*start.shape[:-1], edges.source.shape[-1])
    source, target = (ends.unsqueeze(-2).expand(shape) for ends in (edges.source, edges.target))
    present = edges.present.unsqueeze(-2)
    for _ in range(hops):
        forward, backward = (reached.gather(-1, ends) & present for ends in (source, target))
        steps = start.new_zeros(start.shape, dtype=torch.int64)
        steps = steps.scatter_reduce(-1, target, forward.long(), "amax")
        steps = steps.scatter_reduce(-1, source, backward.long(), "amax")
        reached = reached | (steps > 0)
    return reached
