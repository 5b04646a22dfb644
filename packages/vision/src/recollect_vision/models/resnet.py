"""A compact residual network for small images."""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from recollect_vision.models.backbone import Backbone
from recollect_vision.types import ImageSizes


@final
class SmallResNet(Backbone):
    """A convolution, stages that halve the sides and double the channels, and the mean over positions.

    A stage is a convolution of stride 2 followed by residual blocks, x + f(x) with f two 3 × 3 convolutions
    (He et al. 2016, arXiv:1512.03385, section 3), each with batch normalisation and ReLU. With two stages of
    one block each it is the network that won CIFAR-10 of DAWNBench (Page 2018, "How to train your ResNet"),
    but narrower.

    Args:
        sizes: Size of the images.
        width: Channels of the first convolution.
        blocks: Residual blocks of each stage.
        dropout: Dropout probability of the features.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> network = SmallResNet(ImageSizes(1, 28, 28), width=8)
        >>> network(torch.randn(2, 1, 28, 28)).shape
        torch.Size([2, 32])
    """

    memory_at = "features"

    def __init__(
        self, sizes: ImageSizes, width: int = 32, blocks: Sequence[int] = (1, 1), dropout: float = 0.0
    ) -> None:
        if width < 1 or not blocks or min(blocks) < 0:
            raise ValueError(f"width must be at least 1 and blocks not negative, got {width} and {blocks}")
        super().__init__(sizes, width * 2 ** len(blocks))
        self.stem = convolution(sizes.channels, width)
        stages: list[nn.Module] = []
        for stage, count in enumerate(blocks):
            narrow = width * 2**stage
            stages.append(convolution(narrow, 2 * narrow, stride=2))
            stages += [Residual(2 * narrow) for _ in range(count)]
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.features = nn.Identity()  # a memory can augment it
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        """See ``Backbone``."""
        features: Tensor = self.dropout(self.features(self.pool(self.stages(self.stem(images)))))
        return features


@final
class Residual(nn.Module):
    """x + f(x), with f two convolutions.

    Args:
        channels: Channels of x.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(convolution(channels, channels), convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, height, width)`` → ``(B, channels, height, width)``."""
        y: Tensor = x + self.residual(x)
        return y


def convolution(channels: int, filters: int, stride: int = 1) -> nn.Sequential:
    """Build a 3 × 3 convolution with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )
