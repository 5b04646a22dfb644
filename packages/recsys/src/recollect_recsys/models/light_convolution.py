"""Messages along the edges of an undirected graph, weighted and added up."""

from typing import Any, cast, final

import torch
from torch import Tensor

from recollect.memories.message_passing import MessagePassing  # imported there without PyG's warnings


class _SymmetricProduct(torch.autograd.Function):
    """A x for a symmetric A, whose gradient is A g: torch would transpose A at each step to find that out."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, x: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.matrix @ gradients[0].contiguous()


@final
class LightConvolution(MessagePassing):  # type: ignore[misc]  # PyG is untyped
    """v_i ← Σ_j A_ij v_j: light graph convolution (He et al. 2020, arXiv:2002.02126, eq. 3), A given.

    As PyTorch Geometric's ``LGConv(normalize=False)``, for a matrix that equals its transpose, which halves
    the time of a gradient.

    Example:
        >>> edges = torch.tensor([[0.0, 0.5], [0.5, 0.0]]).to_sparse_csr()
        >>> LightConvolution()(torch.tensor([[2.0], [6.0]]), edges).tolist()
        [[3.0], [1.0]]
    """

    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """``x`` ``(N, V)`` along ``edges``, a symmetric sparse CSR matrix ``(N, N)``."""
        return cast(Tensor, self.propagate(edges, x=x))

    def message_and_aggregate(self, edges: Tensor, x: Tensor) -> Tensor:
        """All messages at once, as a product of matrices."""
        return cast(Tensor, _SymmetricProduct.apply(edges, x))
