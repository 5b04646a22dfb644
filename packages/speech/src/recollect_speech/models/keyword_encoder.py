"""One vector for a recording of one word."""

from typing import final

import torch
from torch import Tensor, nn


@final
class KeywordEncoder(nn.Module):
    """Convolutions over mel bins and time, then over steps of 20 ms; their mean and maximum over time.

    CTC lets a few steps decide for a word, and of isolated words those are what tells the speakers of
    training apart; here all of the word has a say (as in networks that spot keywords: Sainath & Parada 2015,
    Interspeech). What does not count is zero to every convolution, and has no part in mean and maximum.

    Args:
        bins: Number F of mel bins.
        channels: Channels of the first convolution; the second has twice as many.
        size: Width D.
        layers: Convolutions over steps.
        kernel: Steps that each of them spans; odd.
        dropout: Share that is dropped in training.

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
        for name, value in (("bins", bins), ("channels", channels), ("size", size), ("layers", layers)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        self.bins = bins
        self.size = size
        self.first = _plane(1, channels, (1, 2))
        self.second = _plane(channels, 2 * channels, (2, 2))
        widths = [2 * channels * ((bins + 3) // 4)] + [size] * layers
        self.over_time = nn.ModuleList(_line(width, size, kernel, dropout) for width in widths[:-1])
        self.pooled = nn.Linear(2 * size, size)

    def forward(self, frames: Tensor, counts: Tensor) -> Tensor:
        """``(B, T, F)``, of which ``counts`` ``(B,)`` frames count → ``(B, D)``."""
        counts = counts.clamp_min(1)
        x = self.first(frames.unsqueeze(1))
        x = self.second(x * _counted(x.shape[2], counts)[:, None, :, None])
        mask = _counted(x.shape[2], (counts + 1) // 2).unsqueeze(1)  # (B, 1, T / 2)
        x = x.transpose(2, 3).flatten(1, 2)
        for layer in self.over_time:
            x = layer(x * mask)
        mean = (x * mask).sum(-1) / mask.sum(-1)
        y: Tensor = self.pooled(torch.cat([mean, x.masked_fill(~mask, -torch.inf).amax(-1)], -1))
        return y


def _plane(inside: int, outside: int, stride: tuple[int, int]) -> nn.Module:
    """Over time and mel bins."""
    convolution = nn.Conv2d(inside, outside, 3, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.SiLU())


def _line(inside: int, outside: int, kernel: int, dropout: float) -> nn.Module:
    """Over time."""
    convolution = nn.Conv1d(inside, outside, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm1d(outside), nn.SiLU(), nn.Dropout(dropout))


def _counted(steps: int, counts: Tensor) -> Tensor:
    """``(B, T)``, whether each step counts."""
    return torch.arange(steps, device=counts.device) < counts.unsqueeze(1)
