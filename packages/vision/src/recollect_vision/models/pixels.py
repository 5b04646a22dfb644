"""A backbone without parameters: the pixels are the features."""

from typing import final

from torch import Tensor

from recollect_vision.models.backbone import Backbone
from recollect_vision.types import ImageSizes


@final
class Pixels(Backbone):
    """Flattens the image.

    Args:
        sizes: Size of the images.
    """

    memory_at = ""

    def __init__(self, sizes: ImageSizes) -> None:
        super().__init__(sizes, sizes.channels * sizes.height * sizes.width)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` → ``(B, C·H·W)``."""
        return images.flatten(1)
