"""The contract of every network that makes features of images."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from recollect_vision.types import ImageSizes


class Backbone(nn.Module, ABC):
    """Turns each image into a feature; no image of a batch has a part in another's, in evaluation mode.

    Args:
        sizes: What it is made for.
        feature_size: Width D of a feature.
    """

    memory_at: str
    """Name of the part that takes a memory where nothing else is asked for: see ``recollect.augment``."""

    def __init__(self, sizes: ImageSizes, feature_size: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.feature_size = feature_size

    num_prepare_images = 0
    """How many training images ``prepare`` wants to see, at most."""

    def prepare(self, images: Tensor) -> None:
        """Take in training images ``(B, C, height, width)``, normalised, before training begins."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: ``(B, C, height, width)``, normalised.

        Returns:
            ``(B, D)``.
        """
