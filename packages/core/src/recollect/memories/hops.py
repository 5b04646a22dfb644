"""What a query becomes after a hop: three ways to go from the query u and the read o to the next query."""

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn


class Hop(nn.Module, ABC):
    """The step u_{k+1} = hop(u_k, o_k)."""

    @abstractmethod
    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Next query ``(…, D)`` from query ``(…, D)`` and what it read, ``(…, D)``."""


@final
class AddHop(Hop):
    """u_{k+1} = H u_k + o_k (Sukhbaatar et al. 2015, arXiv:1503.08895, eq. 4 and section 2.2).

    Args:
        size: Width D.

    Example:
        >>> AddHop(4)(torch.ones(2, 4), torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.project = nn.Linear(size, size, bias=False)
        nn.init.eye_(self.project.weight)

    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Next query."""
        kept: Tensor = self.project(query)
        return kept + read


@final
class GatedHop(Hop):
    """u_{k+1} = o_k ⊙ T + u_k ⊙ (1 − T), T = σ(W u_k + b) (Liu & Perez 2017, arXiv:1610.04211, eqs. 6–7).

    Args:
        size: Width D.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(size, size)

    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Next query."""
        gate: Tensor = self.gate(query).sigmoid()
        return read * gate + query * (1 - gate)


@final
class MlpHop(Hop):
    """u_{k+1} = norm(u_k + o_k + W_2 relu(W_1 [u_k; o_k])): what was read is added and recombined.

    The update of Working Memory Networks (Pavez et al. 2018, arXiv:1805.09354, section 3.1) with the residual
    and the layer normalisation of the Transformer.

    Args:
        size: Width D.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        last = nn.Linear(2 * size, size)
        self.mix = nn.Sequential(nn.Linear(2 * size, 2 * size), nn.ReLU(), last)
        self.norm = nn.LayerNorm(size)
        # Begin near u + o, in the space of what is remembered: the next hop looks up what was just read.
        with torch.no_grad():
            last.weight.mul_(0.3)

    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Next query."""
        following: Tensor = self.norm(query + read + self.mix(torch.cat([query, read], -1)))
        return following
