"""The image itself for a feature: what can be had without learning."""

from typing import final

from torch import Tensor

from recollect_vision.models.backbone import Backbone
from recollect_vision.types import ImageSizes


@final
class Pixels(Backbone):
    """An image's pixels, one after the other. Nothing is learnt.

    Args:
        sizes: Of the image.
    """

    memory_at = ""

    def __init__(self, sizes: ImageSizes) -> None:
        super().__init__(sizes, sizes.channels * sizes.height * sizes.width)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` → ``(B, C·H·W)``."""
        return images.flatten(1)
