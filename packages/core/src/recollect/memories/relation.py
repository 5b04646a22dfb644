"""Reasoning over what several hops have read."""

from typing import final

import torch
from torch import Tensor, nn


@final
class RelationNetwork(nn.Module):
    """Σ_{i<j} g([o_i; o_j; q]) over all pairs of what was read.

    Relation Networks (Santoro et al. 2017, arXiv:1706.01427, eq. 1), applied to the few vectors in working
    memory instead of to every pair of sentences (Pavez et al. 2018, arXiv:1805.09354, section 3.2).

    Args:
        size: Width D.

    Raises:
        ValueError: If ``forward`` is given fewer than two vectors.

    Example:
        >>> RelationNetwork(4)(torch.randn(2, 3, 4), torch.randn(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (3 * size, size, size):
            layers += [nn.Linear(width, size), nn.ReLU()]
        self.relate = nn.Sequential(*layers)

    def forward(self, objects: Tensor, query: Tensor) -> Tensor:
        """Relate ``objects`` ``(…, n, D)`` in the light of ``query`` ``(…, D)``: ``(…, D)``."""
        count = objects.shape[-2]
        if count < 2:
            raise ValueError(f"a relation needs at least two vectors, got {count}")
        i, j = torch.triu_indices(count, count, 1, device=objects.device)
        query = query.unsqueeze(-2).expand(*query.shape[:-1], len(i), query.shape[-1])
        related: Tensor = self.relate(torch.cat([objects[..., i, :], objects[..., j, :], query], -1)).sum(-2)
        return related
