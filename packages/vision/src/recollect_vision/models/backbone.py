"""Base class of networks that compute features of images."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from recollect_vision.types import ImageSizes


class Backbone(nn.Module, ABC):
    """Computes a feature of each image. In evaluation mode images of a batch do not affect each other.

    Args:
        sizes: Size of the images.
        feature_size: Width D of a feature.
    """

    memory_at: str
    """Name of the module that a memory augments by default: see ``recollect.augment``."""

    def __init__(self, sizes: ImageSizes, feature_size: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.feature_size = feature_size

    num_prepare_images = 0
    """Largest number of training images that ``prepare`` is given."""

    def prepare(self, images: Tensor) -> None:
        """Initialise from normalised training images ``(B, C, height, width)`` before training begins."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Compute features of images.

        Args:
            images: ``(B, C, height, width)``, normalised.

        Returns:
            ``(B, D)``.
        """
