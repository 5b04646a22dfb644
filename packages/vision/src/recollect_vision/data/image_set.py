"""Labelled images, in memory or in files."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from recollect_vision.data.image_files import open_image
from recollect_vision.types import ImageSizes

CACHE_BYTES = 2**30
"""Largest size of decoded images in memory; a larger set is decoded on each access."""


class ImageSet(ABC):
    """Images of one size, each with a label and a name.

    Args:
        sizes: Their size.
        labels: ``(N,)`` int64; −1 if unknown.
    """

    def __init__(self, sizes: ImageSizes, labels: Tensor) -> None:
        self.sizes = sizes
        self.labels = labels

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    @abstractmethod
    def in_memory(self) -> bool:
        """Whether images are in memory instead of being decoded on each access."""

    @abstractmethod
    def image(self, number: int) -> Tensor:
        """Return an image, ``(C, height, width)`` uint8."""

    @abstractmethod
    def name(self, number: int) -> str:
        """Return the name of an image: its file, or its split and index."""


@final
class StoredImages(ImageSet):
    """Images in memory.

    Args:
        images: ``(N, C, height, width)`` uint8.
        labels: As in ``ImageSet``.
        split: Name of the split; image i is called ``split/i``.
    """

    def __init__(self, images: Tensor, labels: Tensor, split: str) -> None:
        super().__init__(ImageSizes(*images.shape[1:]), labels)
        self.images = images
        self.split = split

    @property
    def in_memory(self) -> bool:
        """See ``ImageSet``."""
        return True

    def image(self, number: int) -> Tensor:
        """See ``ImageSet``."""
        return self.images[number]

    def name(self, number: int) -> str:
        """See ``ImageSet``."""
        return f"{self.split}/{number}"


@final
class ImageFiles(ImageSet):
    """Images in files of any size: the shorter side is scaled to the given size and the centre is cropped.

    All files are decoded once at the start, so that a bad file is found before training, and are cached if
    they fit into ``CACHE_BYTES``.

    Args:
        sizes: Size of the decoded images; images are converted to grey or colour as needed.
        paths: The files.
        labels: As in ``ImageSet``.

    Raises:
        DataError: If a file is not an image; the message names it.
    """

    def __init__(self, sizes: ImageSizes, paths: Sequence[Path], labels: Tensor) -> None:
        super().__init__(sizes, labels)
        self.paths = list(paths)
        size = sizes.channels * sizes.height * sizes.width
        self._cache = torch.empty(0)
        if len(self.paths) * size <= CACHE_BYTES:
            self._cache = torch.empty(len(self.paths), *sizes, dtype=torch.uint8)
        for number in track(range(len(self.paths)), "reading images", transient=True):
            image = decode(self.paths[number], sizes)
            if len(self._cache):
                self._cache[number] = image

    @property
    def in_memory(self) -> bool:
        """See ``ImageSet``."""
        return len(self._cache) > 0

    def image(self, number: int) -> Tensor:
        """See ``ImageSet``."""
        return self._cache[number] if self.in_memory else decode(self.paths[number], self.sizes)

    def name(self, number: int) -> str:
        """See ``ImageSet``."""
        return str(self.paths[number])


def decode(path: Path, sizes: ImageSizes) -> Tensor:
    """Decode an image file as ``(C, height, width)`` uint8, scaled to the shorter side and centre-cropped.

    Raises:
        DataError: If the file is not an image or is damaged; the message names it.
    """
    image = open_image(path, "L" if sizes.channels == 1 else "RGB", str(path))
    scale = max(sizes.height / image.height, sizes.width / image.width)
    if scale != 1:
        shape = (max(sizes.height, round(image.height * scale)), max(sizes.width, round(image.width * scale)))
        image = image.resize(shape[::-1], Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image)).reshape(image.height, image.width, sizes.channels)
    cropped: Tensor = F.center_crop(pixels.permute(2, 0, 1), [sizes.height, sizes.width])
    return cropped
