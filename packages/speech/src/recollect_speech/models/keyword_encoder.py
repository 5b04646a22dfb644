"""An encoder that maps a recording of one word to a vector."""

from typing import final

import torch
from torch import Tensor, nn

from recollect.validation import check_positive


@final
class KeywordEncoder(nn.Module):
    """Convolutions over mel bins and time, then over steps of 20 ms, and mean and max pooling over time.

    With CTC a few steps decide about a word, and for isolated words these overfit to the training speakers.
    Here all steps contribute, as in other keyword spotters (Sainath & Parada 2015, Interspeech). Padding is
    zero before every convolution and excluded from the pooling.

    Args:
        bins: Number F of mel bins.
        channels: Number of channels of the first convolution; the second has twice as many.
        size: Width D.
        layers: Number of convolutions over steps.
        kernel: Their kernel size; odd.
        dropout: Dropout rate.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> encoder = KeywordEncoder(bins=40, channels=4, size=8)
        >>> encoder(torch.randn(2, 31, 40), torch.tensor([31, 8])).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        bins: int = 40,
        channels: int = 16,
        size: int = 64,
        layers: int = 3,
        kernel: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_positive(bins=bins, channels=channels, size=size, layers=layers)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        self.bins = bins
        self.size = size
        self.first = _conv2d(1, channels, (1, 2))
        self.second = _conv2d(channels, 2 * channels, (2, 2))
        widths = [2 * channels * ((bins + 3) // 4)] + [size] * layers
        self.over_time = nn.ModuleList(_conv1d(width, size, kernel, dropout) for width in widths[:-1])
        self.pooled = nn.Linear(2 * size, size)

    def forward(self, frames: Tensor, counts: Tensor) -> Tensor:
        """Features ``(B, T, F)`` with lengths ``counts`` ``(B,)`` → ``(B, D)``."""
        counts = counts.clamp_min(1)
        x = self.first(frames.unsqueeze(1))
        x = self.second(x * _valid(x.shape[2], counts)[:, None, :, None])
        mask = _valid(x.shape[2], (counts + 1) // 2).unsqueeze(1)  # (B, 1, T / 2)
        x = x.transpose(2, 3).flatten(1, 2)
        for layer in self.over_time:
            x = layer(x * mask)
        mean = (x * mask).sum(-1) / mask.sum(-1)
        y: Tensor = self.pooled(torch.cat([mean, x.masked_fill(~mask, -torch.inf).amax(-1)], -1))
        return y


def _conv2d(in_channels: int, out_channels: int, stride: tuple[int, int]) -> nn.Module:
    """A convolution over time and mel bins."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.SiLU())


def _conv1d(in_channels: int, out_channels: int, kernel: int, dropout: float) -> nn.Module:
    """A convolution over time."""
    convolution = nn.Conv1d(in_channels, out_channels, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm1d(out_channels), nn.SiLU(), nn.Dropout(dropout))


def _valid(steps: int, counts: Tensor) -> Tensor:
    """Mask ``(B, T)``, true at valid steps."""
    return torch.arange(steps, device=counts.device) < counts.unsqueeze(1)
