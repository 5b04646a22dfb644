"""Images to be classified, and the labelled examples that they are compared with."""

from pathlib import Path
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_vision.data.drawings import SUFFIXES, decode, image_paths


class Support(NamedTuple):
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


class Question(NamedTuple):
    """Images to be classified.

    Attributes:
        files: Their names.
        images: ``(B, 1, S, S)`` in [0, 1].
    """

    files: list[str]
    images: Tensor


def read_support(folder: Path, size: int) -> Support:
    """The examples of ``folder/<class>/*.png``, images at any depth.

    Raises:
        DataError: If there are fewer than two classes, a class without images, or a file that is no image.
    """
    if not folder.is_dir():
        raise ArgumentError(f"--data.support {folder} is no folder")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise DataError(f"{folder} holds {len(classes)} folders where each of two or more classes has one")
    files, labels = [], []
    for label, path in enumerate(classes):
        found = image_paths(path)
        if not found:
            raise DataError(f"{path} holds no image: a class needs at least one example")
        files += found
        labels += [label] * len(found)
    images = torch.stack([read_image(path, size) for path in files])
    names = [path.name for path in classes]
    return Support(names, [str(path) for path in files], images, torch.tensor(labels))


def read_image(path: Path, size: int) -> Tensor:
    """An image as ``(1, size, size)`` in [0, 1]: ink 1, paper 0."""
    return decode(path.read_bytes(), size, str(path)).float() / 255


@final
class Questions(Dataset[tuple[str, Tensor]]):
    """The images of a folder, at any depth, or a single one; each is read when it is its turn.

    Args:
        path: Folder or file.
        size: Height and width S.

    Raises:
        ArgumentError: If there is no image.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.files = [path] if path.is_file() else image_paths(path)
        self.size = size
        if not self.files:
            raise ArgumentError(f"--data.path {path} holds no image ({', '.join(SUFFIXES)})")

    def __len__(self) -> int:
        """How many images."""
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[str, Tensor]:
        """Name and image."""
        path = self.files[number]
        return str(path), read_image(path, self.size)
