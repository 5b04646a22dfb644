"""Images to be classified, and the labelled examples that they are compared with."""

from pathlib import Path
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect.training import DataError
from recollect_vision.data.characters import decode
from recollect_vision.data.image_files import image_files, labelled_files


class SupportSet(NamedTuple):
    """Labelled examples: the images of a folder for each class.

    Attributes:
        names: Of the C classes, sorted.
        files: Names of the W files.
        images: ``(W, 1, S, S)`` in [0, 1].
        labels: ``(W,)`` int64, below C.
    """

    names: list[str]
    files: list[str]
    images: Tensor
    labels: Tensor


def read_support_set(folder: Path, size: int) -> SupportSet:
    """The examples of ``folder/<class>/*.png``, images at any depth.

    Raises:
        DataError: If there are fewer than two classes, a class without images, or a file that is no image.
    """
    names, paths, labels = labelled_files(folder)
    if len(names) < 2:
        raise DataError(f"{folder} holds examples of {names[0]} only: nothing can be told apart")
    images = torch.stack([read_image(path, size) for path in paths])
    return SupportSet(names, [str(path) for path in paths], images, labels)


def read_image(path: Path, size: int) -> Tensor:
    """An image as ``(1, size, size)`` in [0, 1]: ink 1, paper 0."""
    return decode(path.read_bytes(), size, str(path)).float() / 255


@final
class QueryImages(Dataset[tuple[str, Tensor]]):
    """The images of a folder, at any depth, or a single one; each is read when it is its turn.

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
        """How many images."""
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[str, Tensor]:
        """Name and image."""
        path = self.files[number]
        return str(path), read_image(path, self.size)
