"""Centroids of vectors, for quantisation."""

import torch
from torch import Tensor

ASSIGNED = 1 << 24
"""Pairs of vectors and centroids that are compared at once."""


def kmeans(x: Tensor, count: int, steps: int = 15, seed: int = 0) -> Tensor:
    """Centroids of vectors by Lloyd's algorithm, from a random choice of them.

    A centroid without vectors moves to the vector that is farthest from its own.

    Args:
        x: ``(n, D)``.
        count: Number of centroids, n at most.
        steps: Number of steps.
        seed: Seed of the first choice.

    Returns:
        ``(count, D)``.

    Raises:
        ValueError: If there are fewer vectors than centroids.

    Example:
        >>> kmeans(torch.tensor([[0.0], [1.0], [9.0], [11.0]]), 2).flatten().sort().values
        tensor([ 0.5000, 10.0000])
    """
    if len(x) < count:
        raise ValueError(f"{count} centroids need as many vectors, got {len(x)}")
    generator = torch.Generator("cpu").manual_seed(seed)
    centroids = x[torch.randperm(len(x), generator=generator, device="cpu")[:count].to(x.device)].clone()
    for _ in range(steps):
        nearest, distance = nearest_centroid(x, centroids)
        sizes = torch.bincount(nearest, minlength=count)
        totals = torch.zeros_like(centroids).index_add_(0, nearest, x)
        centroids = totals / sizes.clamp_min(1).unsqueeze(-1)
        empty = (sizes == 0).nonzero().flatten()
        if len(empty):
            centroids[empty] = x[distance.topk(len(empty)).indices]
    return centroids


def nearest_centroid(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Number ``(n,)`` int64 of the centroid nearest to each vector ``(n, D)``, and its squared distance."""
    squares, numbers, distances = centroids.square().sum(-1), [], []
    for part in torch.split(x, max(1, ASSIGNED // len(centroids))):
        distance, number = (squares - 2 * part @ centroids.T).min(-1)
        numbers.append(number)
        distances.append((distance + part.square().sum(-1)).clamp_min(0))
    return torch.cat(numbers), torch.cat(distances)
