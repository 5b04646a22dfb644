"""Convolutional subsampling of the features by a factor of four."""

from typing import final

from torch import Tensor, nn

REACH = 7
"""Number of frames that a step sees."""

STRIDE = 4
"""Number of frames from one step to the next."""


@final
class Subsampling(nn.Module):
    """Two convolutions of 3 × 3 with stride 2, then a linear map (Gulati et al. 2020, arXiv:2005.08100).

    The time axis is not padded: step t sees the frames 4t to 4t + 6. So the steps of a piece are those of the
    whole recording, and padding in a batch cannot change them.

    Args:
        bins: Number F of mel bins.
        channels: Number of channels of the convolutions.
        size: Width D.
        dropout: Dropout rate of the output.

    Example:
        >>> import torch
        >>> Subsampling(40, 8, 16)(torch.randn(2, 99, 40)).shape
        torch.Size([2, 24, 16])
    """

    def __init__(self, bins: int, channels: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=(0, 1)),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=(0, 1)),
            nn.SiLU(),
        )
        narrowed = (bins + 3) // 4
        self.project = nn.Sequential(
            nn.Linear(channels * narrowed, size), nn.LayerNorm(size), nn.Dropout(dropout)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """``(B, T, F)`` → ``(B, (T − 3) // 4, D)``."""
        x: Tensor = self.convolve(frames.unsqueeze(1))
        y: Tensor = self.project(x.transpose(1, 2).flatten(2))
        return y


def steps_of(frames: Tensor) -> Tensor:
    """Number of steps for a number of frames.

    Example:
        >>> import torch
        >>> steps_of(torch.tensor([0, 6, 7, 10, 11])).tolist()
        [0, 0, 1, 1, 2]
    """
    return ((frames - REACH) // STRIDE + 1).clamp_min(0)
