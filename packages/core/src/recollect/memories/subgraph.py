"""Attention over the neighbourhood of a node."""

import torch
from torch import Tensor

from recollect.memories.graph_state import Edges
from recollect.ops.attention import attention_weights, similarity
from recollect.state import Entries, Read


def subgraph_attention(entries: Entries, edges: Edges, query: Tensor, start: Tensor, hops: int) -> Read:
    """Attention over a k-hop neighbourhood, with weights ∝ presence · exp(q · k / √K).

    Args:
        entries: The nodes.
        edges: The edges between them.
        query: ``(…, Q, K)``.
        start: ``(…, Q, N)`` bool, the nodes whose neighbourhood each query attends to.
        hops: Number of hops that it reaches.
    """
    keys, values, filled = entries
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
