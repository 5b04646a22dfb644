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
    """Blocks of 3 × 3 convolution, 2 × 2 max pooling, batch normalisation and ReLU; the output is flattened.

    With four blocks of 64 channels it is the network of Vinyals et al. (2016, arXiv:1606.04080, section 4.1)
    and Snell et al. (2017, arXiv:1703.05175, section 3.1), except that they pool last:
    here the normalisation processes a quarter of the positions. Pooling of an odd side drops the last row or
    column unless ``keep_edges`` is set. ``residual`` blocks add a second convolution, initialised to zero,
    to the output of the first.

    Args:
        sizes: Size of the images.
        channels: Output channels of each block.
        residual: Indices of the blocks that have a second convolution.
        keep_edges: Whether to round odd sides up instead of down.

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
            raise ValueError(f"residual {list(residual)} must be indices of the {len(channels)} blocks")
        height, width = sizes.height, sizes.width
        for _ in channels:
            height, width = (height + keep_edges) // 2, (width + keep_edges) // 2
        if height < 1 or width < 1:
            raise ValueError(
                f"{len(channels)} blocks halve {sizes.height} × {sizes.width} pixels to nothing: use fewer"
            )
        super().__init__(sizes, channels[-1] * height * width)
        inputs = (sizes.channels, *channels[:-1])
        self.blocks = nn.Sequential(
            *(
                Block(*widths, residual=number in residual, keep_edges=keep_edges)
                for number, widths in enumerate(zip(inputs, channels, strict=True))
            )
        )
        self.memory_at = f"blocks.{len(channels) - 1}"
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def forward(self, images: Tensor) -> Tensor:
        """Compute features ``(B, D)`` of images ``(B, C, H, W)``."""
        features: Tensor = self.blocks(images.contiguous(memory_format=torch.channels_last))
        return features.flatten(1)


@final
class Block(nn.Module):
    """Halves height and width: y = ReLU(norm(pool(conv(x)))), then optionally ReLU(y + norm(conv(y))).

    Args:
        in_channels: Channels of x.
        out_channels: Channels of y.
        residual: Whether there is a second convolution.
        keep_edges: Whether to round an odd side up.
    """

    def __init__(self, in_channels: int, out_channels: int, residual: bool, keep_edges: bool) -> None:
        super().__init__()
        self.keep_edges = keep_edges
        self.convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.more: nn.Module | None = None
        if residual:
            norm = nn.BatchNorm2d(out_channels)
            nn.init.zeros_(norm.weight)
            self.more = nn.Sequential(nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` → ``(B, out_channels, H / 2, W / 2)``."""
        pooled = F.max_pool2d(self.convolution(x), 2, ceil_mode=self.keep_edges)
        y: Tensor = self.norm(pooled).relu()
        return y if self.more is None else (y + self.more(y)).relu()
