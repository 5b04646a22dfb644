"""Reads of a part of a graph: what is near a node."""

import torch
from torch import Tensor

from recollect.memories.graph_state import Edges
from recollect.storages.attention import attention_weights, similarity
from recollect.storages.results import Entries, Read


def read_near(entries: Entries, edges: Edges, query: Tensor, start: Tensor, hops: int) -> Read:
    """Attention over what is near, with weight ∝ presence · exp(q · k / √K).

    Args:
        entries: The nodes.
        edges: The edges between them.
        query: ``(…, Q, K)``.
        start: ``(…, Q, N)`` bool, the nodes whose neighbourhood each query looks at.
        hops: How far that reaches.
    """
    keys, values, filled = entries
    near = within_hops(edges, start, hops)
    scores = similarity(query, keys.to(query.dtype), "dot") / keys.shape[-1] ** 0.5
    weights = attention_weights(scores, filled.unsqueeze(-2) * near)
    return Read(weights.to(values.dtype) @ values, weights, None)


def within_hops(edges: Edges, start: Tensor, hops: int) -> Tensor:
    """Which nodes are at most ``hops`` edges away, along or against their direction.

    Args:
        edges: The edges.
        start: ``(…, Q, N)`` bool, where each of Q walks begins.
        hops: How many edges to follow; none gives ``start``.

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
