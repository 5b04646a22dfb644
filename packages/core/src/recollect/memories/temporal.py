"""When something was written, as a vector."""

import math
from typing import final

import torch
from torch import Tensor, nn


@final
class TemporalEncoding(nn.Module):
    """A learned linear map of sinusoids of the time: te(t) = W [sin(t · f); cos(t · f)].

    Memory networks add a learned row per place (Sukhbaatar et al. 2015, arXiv:1503.08895, section 4.1), which
    ends with the table. Sinusoids (Vaswani et al. 2017, section 3.5) go on for ever, and the difference of
    two times is a linear function of both, so that "just before" and "last" can be learnt from any time on.

    Args:
        size: Width D of the encoding, even.
        longest: Longest period told apart, in steps.

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
        self.project = nn.Linear(size, size, bias=False)
        nn.init.orthogonal_(self.project.weight, gain=0.1)

    def forward(self, time: Tensor) -> Tensor:
        """Encode times ``(…,)`` as ``(…, D)``."""
        angles = time.unsqueeze(-1) * self.frequencies
        encoded: Tensor = self.project(torch.cat([angles.sin(), angles.cos()], -1))
        return encoded
