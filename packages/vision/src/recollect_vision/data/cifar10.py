"""CIFAR-10: small colour images of ten classes."""

from typing import final

import torch
from torchvision.datasets import CIFAR10

from recollect.training import data_folder, fetch
from recollect_vision.data.classification import ImageData
from recollect_vision.data.folder import read_folder
from recollect_vision.data.image_set import StoredImages
from recollect_vision.data.splits import Splits
from recollect_vision.types import ImageSizes

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
SIZES = ImageSizes(3, 32, 32)


@final
class Cifar10Data(ImageData):
    """50,000 training and 10,000 test images of 32 × 32 pixels (Krizhevsky 2009).

    Where the dataset's folder holds ``train/<class>/`` and ``test/<class>/``, a copy as image files, these
    are read instead of the official file. Pixels of a JPEG copy differ slightly.

    Args: as in ``ImageData``.
    """

    @property
    def is_copy(self) -> bool:
        """Whether image files take the place of the official file."""
        return (data_folder("cifar10") / "train").is_dir()

    @property
    def notes(self) -> list[str]:
        """Notes on the images if they are a copy."""
        copy = (
            "the images are a copy in single files (JPEG): figures differ slightly from those of the original"
        )
        return [*super().notes, copy] if self.is_copy else super().notes

    def prepare_data(self) -> None:
        """Download what is missing, and unpack it."""
        if not self.is_copy:
            fetch(URL, SHA256, data_folder("cifar10"))
            CIFAR10(data_folder("cifar10"), download=True)  # finds the archive and unpacks it

    def read(self) -> Splits:
        """See ``ImageData``."""
        root = data_folder("cifar10")
        if self.is_copy:
            return read_folder(root, SIZES)
        train, test = (CIFAR10(root, train=train) for train in (True, False))
        first, second = (
            StoredImages(
                torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets), name
            )
            for part, name in ((train, "train"), (test, "test"))
        )
        return Splits(list(train.classes), first, None, second)
