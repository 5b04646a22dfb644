"""A linear map for each channel."""

from typing import cast, final

import torch
from torch import Tensor, nn


@final
class ChannelLinear(nn.Module):
    """y_g = W_g x_g + b_g: one linear map for each of G channels, computed in one batched product.

    Args:
        channels: Number G of channels.
        inputs: Width of x.
        outputs: Width of y.
        bias: Whether to add b.

    Example:
        >>> ChannelLinear(3, 4, 2)(torch.randn(3, 5, 4)).shape
        torch.Size([3, 5, 2])
    """

    bias: nn.Parameter | None

    def __init__(self, channels: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(channels, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(channels, 1, outputs)) if bias else None

    def forward(self, x: Tensor, channel: int | None = None) -> Tensor:
        """Map ``(G, B, inputs)`` to ``(G, B, outputs)``; with ``channel``, one channel and G = 1."""
        some = slice(None) if channel is None else slice(channel, channel + 1)
        if self.bias is None:
            return torch.bmm(x, self.weight[some])
        return torch.baddbmm(cast(Tensor, self.bias)[some], x, self.weight[some])
