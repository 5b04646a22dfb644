"""Attention to the rows that an engine has found."""

import torch
from torch import Tensor

from recollect.ops.attention import attention_weights, dot_scores, similarity
from recollect.ops.distance import Metric, row_distance
from recollect.state import Read
from recollect.storages.neighbors import Neighbors


def attend_neighbors(query: Tensor, found: Neighbors, metric: Metric, sharpness: Tensor) -> Read:
    """Attend to the neighbours of each query, with gradients to the query and the sharpness.

    Args:
        query: ``(…, Q, K)``.
        found: The k neighbours of each query.
        metric: ``"cosine"`` and ``"dot"`` weigh by these similarities, ``"l2"`` by −‖q − k‖².
        sharpness: Factor on the similarity, a scalar.
    """
    with torch.autocast(query.device.type, enabled=False):
        scores, scale = _scores(query.to(found.keys.dtype), found.keys, metric)
        presence = found.presence.unsqueeze(-2)  # (…, Q, 1, k)
        weights = attention_weights(scores * sharpness.to(scores.dtype), presence, scale)
        value = (weights.to(found.values.dtype) @ found.values).squeeze(-2)
    return Read(value.to(query.dtype), weights.squeeze(-2), found.slots)


def _scores(query: Tensor, keys: Tensor, metric: Metric) -> tuple[Tensor, Tensor | None]:
    """Similarities ``(…, Q, 1, k)`` that do not overflow, and the factor ``(…, Q, 1, 1)`` that they lack."""
    if metric == "l2":
        return -row_distance(query, keys, "l2").unsqueeze(-2), None
    if metric == "cosine":
        return similarity(query.unsqueeze(-2), keys, "cosine"), None
    return dot_scores(query.unsqueeze(-2), keys)
