"""Encoding of the time at which something was written."""

import math
from typing import final

import torch
from torch import Tensor, nn


@final
class TemporalEncoding(nn.Module):
    """A learned linear map of sinusoids of the time: te(t) = W [sin(t · f); cos(t · f)].

    Memory networks learn a vector per position (Sukhbaatar et al. 2015, arXiv:1503.08895, section 4.1), which
    limits the number of positions. Sinusoids (Vaswani et al. 2017, arXiv:1706.03762, section 3.5) have no
    such limit. Since the encoding of t + k is a linear function of the encoding of t, a relation such as
    "just before" can be learned independently of the absolute time.

    Args:
        size: Width D of the encoding, even.
        longest: Longest period, in steps.

    Raises:
        ValueError: If ``size`` is odd.

    Example:
        >>> TemporalEncoding(8)(torch.arange(3)).shape
        torch.Size([3, 8])
    """

    frequencies: Tensor

    def __init__(self, size: int, longest: int = 128) -> None:
        super().__init__()
        if size % 2:
            raise ValueError(f"size must be even, got {size}")
        self.register_buffer(
            "frequencies", torch.linspace(0, -math.log(longest), size // 2).exp(), persistent=False
        )
        self.proj = nn.Linear(size, size, bias=False)
        nn.init.orthogonal_(self.proj.weight, gain=0.1)

    def forward(self, time: Tensor) -> Tensor:
        """Encode times ``(…,)`` as ``(…, D)``."""
        angles = time.unsqueeze(-1) * self.frequencies  # (…, D / 2)
        encoded: Tensor = self.proj(torch.cat([angles.sin(), angles.cos()], -1))
        return encoded
