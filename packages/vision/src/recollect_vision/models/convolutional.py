"""A small convolutional network: blocks of one convolution each."""

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_vision.models.backbone import Backbone
from recollect_vision.types import ImageSizes


@final
class ConvolutionalBackbone(Backbone):
    """Blocks of 3 × 3 convolution, 2 × 2 maximum, batch normalisation and ReLU; the feature is what is left.

    With four blocks of 64 channels it is the network of Vinyals et al. (2016, arXiv:1606.04080, section 4.1)
    and Snell et al. (2017, arXiv:1703.05175, section 3.1), but for the maximum, which they take last: here
    the normalisation has a quarter of the numbers to pass through. Where an odd side is halved, they drop
    the last row and column; ``keep_edges`` keeps them. ``residual`` blocks have a second convolution, added
    to what the first one made; it begins at zero.

    Args:
        sizes: What it is made for.
        channels: Of each block.
        residual: Which blocks have a second convolution, counted from 0.
        keep_edges: Round halves up instead of down.

    Raises:
        ValueError: If the image is too small for so many blocks, or a number is out of range.

    Example:
        >>> network = ConvolutionalBackbone(ImageSizes(1, 28, 28), channels=(64, 64, 64, 64))
        >>> network(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 64])
    """

    def __init__(
        self,
        sizes: ImageSizes,
        channels: Sequence[int] = (64, 64, 64, 64),
        residual: Sequence[int] = (),
        keep_edges: bool = False,
    ) -> None:
        if not channels or min(channels) < 1:
            raise ValueError(f"channels must be positive, got {list(channels)}")
        if not set(residual) <= set(range(len(channels))):
            raise ValueError(f"residual {list(residual)} must be numbers of the {len(channels)} blocks")
        height, width = sizes.height, sizes.width
        for _ in channels:
            height, width = (height + keep_edges) // 2, (width + keep_edges) // 2
        if height < 1 or width < 1:
            raise ValueError(
                f"{len(channels)} blocks halve {sizes.height} × {sizes.width} pixels to nothing: give fewer"
            )
        super().__init__(sizes, channels[-1] * height * width)
        entering = (sizes.channels, *channels[:-1])
        self.blocks = nn.Sequential(
            *(
                Block(*widths, residual=number in residual, keep_edges=keep_edges)
                for number, widths in enumerate(zip(entering, channels, strict=True))
            )
        )
        self.memory_at = f"blocks.{len(channels) - 1}"
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(B, D)`` of images ``(B, C, H, W)``."""
        features: Tensor = self.blocks(images.contiguous(memory_format=torch.channels_last))
        return features.flatten(1)


@final
class Block(nn.Module):
    """Halves height and width: y = ReLU(norm(max(conv(x)))), then perhaps ReLU(y + norm(conv(y))).

    Args:
        entering: Channels of x.
        leaving: Channels of y.
        residual: Whether there is a second convolution.
        keep_edges: Whether an odd side is halved up.
    """

    def __init__(self, entering: int, leaving: int, residual: bool, keep_edges: bool) -> None:
        super().__init__()
        self.keep_edges = keep_edges
        self.convolution = nn.Conv2d(entering, leaving, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(leaving)
        self.more: nn.Module | None = None
        if residual:
            norm = nn.BatchNorm2d(leaving)
            nn.init.zeros_(norm.weight)
            self.more = nn.Sequential(nn.Conv2d(leaving, leaving, 3, padding=1, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, entering, H, W)`` → ``(B, leaving, H / 2, W / 2)``."""
        pooled = F.max_pool2d(self.convolution(x), 2, ceil_mode=self.keep_edges)
        y: Tensor = self.norm(pooled).relu()
        return y if self.more is None else (y + self.more(y)).relu()
