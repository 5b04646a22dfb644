"""Distances of queries and keys, and the exact search for the nearest keys."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from recollect.ops.attention import l2_normalize

Metric: TypeAlias = Literal["l2", "cosine", "dot"]
"""Distance of a query q and a key k: ‖q − k‖², 1 − cos(q, k) or −q · k."""

METRICS: tuple[Metric, ...] = ("l2", "cosine", "dot")

COMPARED = 1 << 24
"""Pairs of queries and keys whose distances are kept at once."""

MARGIN = 16
"""Keys that an exact search ranks anew beyond the k that it returns, since its first ranking is rounded."""


def check_metric(metric: str) -> None:
    """Check that a metric exists.

    Raises:
        ValueError: If there is no such metric.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")


def row_distance(query: Tensor, keys: Tensor, metric: Metric) -> Tensor:
    """Distance of each query ``(…, Q, K)`` and its own keys ``(…, Q, k, K)``: ``(…, Q, k)``.

    Each distance is computed on its own, so that it does not depend on what the other keys are.

    Example:
        >>> row_distance(torch.tensor([[0.0, 3.0]]), torch.tensor([[[4.0, 0.0], [0.0, 3.0]]]), "l2")
        tensor([[25.,  0.]])
    """
    query = query.unsqueeze(-2)
    if metric == "l2":
        return (query - keys).square().sum(-1)
    if metric == "cosine":
        return 1 - (l2_normalize(query) * l2_normalize(keys)).sum(-1)
    return -(query * keys).sum(-1)


def nearest_slots(query: Tensor, keys: Tensor, present: Tensor, k: int, metric: Metric) -> Tensor:
    """Slots of the k keys nearest to each query, nearest first, by an exact search.

    Of equally near keys the first ones are found, unless more than ``MARGIN`` others are as near.

    Args:
        query: ``(…, Q, K)``.
        keys: ``(…, N, K)``, finite.
        present: ``(…, N)`` bool, which keys count.
        k: How many.
        metric: The distance.

    Returns:
        ``(…, Q, k)`` int64; −1 where fewer than k keys are present.

    Example:
        >>> keys = torch.tensor([[0.0], [5.0], [1.0]])
        >>> nearest_slots(torch.tensor([[0.2]]), keys, torch.tensor([True, True, True]), 2, "l2")
        tensor([[0, 2]])
    """
    query, keys = query.detach(), keys.detach()
    # The same number of columns whatever the store holds, so that its rows are summed in the same order.
    count = min(k + MARGIN, keys.shape[-2])
    pairs = keys.shape[-2] * max(1, keys.shape[:-2].numel())
    block = max(1, COMPARED // max(1, pairs))
    found = [_nearest(rows, keys, present, count, k, metric) for rows in torch.split(query, block, -2)]
    return torch.cat(found, -2)


def _nearest(query: Tensor, keys: Tensor, present: Tensor, count: int, k: int, metric: Metric) -> Tensor:
    rough = _rough_distance(query, keys, metric).masked_fill(~present.unsqueeze(-2), torch.inf)
    slots = rough.topk(count, -1, largest=False, sorted=False).indices.sort(-1).values
    rows = keys.unsqueeze(-3).expand(*query.shape[:-1], *keys.shape[-2:])
    rows = rows.gather(-2, slots.unsqueeze(-1).expand(*slots.shape, keys.shape[-1]))
    absent = ~present.unsqueeze(-2).expand(*query.shape[:-1], -1).gather(-1, slots)
    exact = row_distance(query, rows, metric).masked_fill(absent, torch.inf)
    distance, order = exact.sort(dim=-1, stable=True)
    slots = slots.gather(-1, order).masked_fill(distance == torch.inf, -1)[..., :k]
    return torch.nn.functional.pad(slots, (0, k - slots.shape[-1]), value=-1)


def _rough_distance(query: Tensor, keys: Tensor, metric: Metric) -> Tensor:
    """Distances ``(…, Q, N)`` up to rounding and a term of each query, by one matrix product."""
    if metric == "cosine":
        return -(l2_normalize(query) @ l2_normalize(keys).mT)
    if metric == "dot":
        return -(query @ keys.mT)
    return keys.square().sum(-1).unsqueeze(-2) - 2 * query @ keys.mT
