"""Labelled examples from a folder, and the images to classify by them."""

from pathlib import Path
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect.training import DataError
from recollect_vision.data.characters import decode
from recollect_vision.data.image_files import image_files, labelled_files


class SupportSet(NamedTuple):
    """Labelled examples of C classes.

    Attributes:
        names: Names of the C classes, sorted.
        files: Names of the W files.
        images: ``(W, 1, S, S)`` in [0, 1].
        labels: ``(W,)`` int64, below C.
    """

    names: list[str]
    files: list[str]
    images: Tensor
    labels: Tensor


def read_support_set(folder: Path, size: int) -> SupportSet:
    """Read the examples of ``folder/<class>/*.png``, at any depth.

    Raises:
        DataError: If there are fewer than two classes, a class without images, or a file that is not an
            image.
    """
    names, paths, labels = labelled_files(folder)
    if len(names) < 2:
        raise DataError(f"{folder} holds examples of {names[0]} only: at least two classes are needed")
    images = torch.stack([read_image(path, size) for path in paths])
    return SupportSet(names, [str(path) for path in paths], images, labels)


def read_image(path: Path, size: int) -> Tensor:
    """Read an image as ``(1, size, size)`` in [0, 1]: ink 1, paper 0."""
    return decode(path.read_bytes(), size, str(path)).float() / 255


@final
class QueryImages(Dataset[tuple[str, Tensor]]):
    """The images below a folder, or a single image; read lazily.

    Args:
        path: Folder or file.
        size: Height and width S.

    Raises:
        DataError: If there is no image.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.files = image_files(path)
        self.size = size

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[str, Tensor]:
        """Return name and image."""
        path = self.files[number]
        return str(path), read_image(path, self.size)
