"""A shallow, wide convolutional network whose first layer is a fixed whitening: it trains fast."""

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_vision.models.backbone import Backbone
from recollect_vision.types import ImageSizes

PATCH = 2
"""Height and width in pixels of the patches that the first layer whitens."""

SCALE = 1 / 9
"""Factor of the features: initial logits are small, and the last layer learns more slowly."""


@final
class WhitenedNetwork(Backbone):
    """Patch whitening, stages of convolution, pooling and convolution, and global max pooling.

    The network of Jordan 2024 (arXiv:2404.00498, section 3), after Page 2018 ("How to train your
    ResNet"): the first layer's filters are the principal directions of training patches, each scaled to
    variance 1, with both signs, and are frozen. The other convolutions are initialised to the identity and
    are followed by batch normalisation and GELU. With ``residual`` a stage has a third convolution and a
    residual connection around the last two, as in the larger network of the paper.

    Args:
        sizes: Size of the images.
        widths: Channels of each stage; each stage halves height and width.
        dropout: Dropout probability of the features.
        scales: Whether batch normalisation learns scales, too.
        residual: Whether each stage has a third convolution and a residual connection.

    Raises:
        ValueError: If there is no stage, or the images are too small for so many.

    Example:
        >>> network = WhitenedNetwork(ImageSizes(3, 32, 32), widths=(8, 16))
        >>> network.prepare(torch.randn(64, 3, 32, 32))
        >>> network(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 16])
    """

    memory_at = "features"
    num_prepare_images = 5_000

    def __init__(
        self,
        sizes: ImageSizes,
        widths: Sequence[int] = (64, 256, 256),
        dropout: float = 0.0,
        scales: bool = True,
        residual: bool = False,
    ) -> None:
        if not widths or min(widths) < 1:
            raise ValueError(f"widths must be at least one positive number, got {list(widths)}")
        if (min(sizes.height, sizes.width) - PATCH + 1) >> len(widths) < 1:
            raise ValueError(
                f"{len(widths)} stages, each of which halves height and width, are too many for images of "
                f"{sizes.height} × {sizes.width}"
            )
        super().__init__(sizes, widths[-1])
        inputs = 2 * PATCH**2 * sizes.channels
        self.whiten = nn.Conv2d(sizes.channels, inputs, PATCH)
        self.whiten.weight.requires_grad_(False)
        stages: list[nn.Module] = [nn.GELU()]
        for narrow, width in zip([inputs, *widths[:-1]], widths, strict=True):
            stages += [_convolution(narrow, width), nn.MaxPool2d(2), _norm(width, scales), nn.GELU()]
            stages += [_Residual(width, scales)] if residual else _normalized(width, scales)
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.features = nn.Identity()  # a memory can augment it
        self.dropout = nn.Dropout(dropout)

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Compute the filters of the first layer."""
        filters = whitening_filters(images)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        nn.init.zeros_(self.whiten.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """See ``Backbone``."""
        found = self.pool(self.stages(self.whiten(images))) * SCALE
        features: Tensor = self.dropout(self.features(found))
        return features


class _Residual(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, width: int, scales: bool) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*_normalized(width, scales), *_normalized(width, scales)[:-1])

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, height, width)`` → ``(B, C, height, width)``."""
        return F.gelu(images + self.convolutions(images))


def whitening_filters(images: Tensor, least: float = 5e-4) -> Tensor:
    """Compute filters that decorrelate patches of images and scale them to variance 1.

    Args:
        images: ``(B, C, height, width)``.
        least: Added to the variances for stability.

    Returns:
        ``(C · 4, C, 2, 2)``.

    Example:
        >>> images = torch.randn(100, 1, 8, 8) * 3
        >>> whitened = torch.nn.functional.conv2d(images, whitening_filters(images))
        >>> bool((torch.cov(whitened.transpose(0, 1).flatten(1)) - torch.eye(4)).abs().max() < 0.1)
        True
    """
    patches = images.unfold(2, PATCH, 1).unfold(3, PATCH, 1).permute(0, 2, 3, 1, 4, 5)
    shape = patches.shape[3:]
    variances, directions = torch.linalg.eigh(torch.cov(patches.flatten(0, 2).flatten(1).T.double()))
    scaled = directions / (variances + least).sqrt()
    filters: Tensor = scaled.T.reshape(-1, *shape).to(images.dtype)
    return filters


def _normalized(width: int, scales: bool) -> list[nn.Module]:
    return [_convolution(width, width), _norm(width, scales), nn.GELU()]


def _norm(channels: int, scales: bool) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    layer.weight.requires_grad_(scales)
    return layer


def _convolution(channels: int, filters: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight[:channels].detach())
    return layer
