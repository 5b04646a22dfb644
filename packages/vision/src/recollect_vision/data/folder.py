"""Images in a folder per class."""

import re
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect.training.folders import subfolders
from recollect_vision.data.classification import ImageData
from recollect_vision.data.idx import idx_splits, read_labelled
from recollect_vision.data.image_files import labelled_files
from recollect_vision.data.image_set import ImageFiles, StoredImages
from recollect_vision.data.splits import Splits, hold_out
from recollect_vision.types import ImageSizes

TEST_FRACTION = 0.2

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing"),
}
"""Names of splits in lower case, with or without ``set``, ``_set`` or ``-set`` at the end."""


@final
class FolderData(ImageData):
    """A folder of images for each class, or such folders in ``train``, ``val`` and ``test``.

    Splits may have other usual names, see ``SPLIT_NAMES``. Or a folder of idx files, as MNIST's.

    Without ``train``, a fifth of each class, the same for every seed, is the test split. The shorter side of
    an image is scaled to ``size`` and the centre is cropped. Images are converted to grey or colour
    according to ``channels``.

    Args:
        path: The folder.
        size: Height and width of the images in pixels.
        channels: 3 for colour, 1 for grey.
        options: As in ``ImageData``.

    Raises:
        ValueError: If an argument is out of range.
        DataError: When the folder is read, if a file is not an image, a class is empty, or a split lacks a
            class.
    """

    def __init__(
        self,
        *,
        path: Path | None = None,
        size: int = 64,
        channels: int = 3,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        self.path = path
        self.size = size
        self.channels = channels

    @property
    def source(self) -> str:
        """The folder."""
        return str(self.path)

    def read(self) -> Splits:
        """See ``ImageData``."""
        if self.path is None:
            raise ArgumentError(
                "--data.path is missing: it names a folder with a folder of images for each class"
            )
        return read_folder(self.path, ImageSizes(self.channels, self.size, self.size))


def read_folder(path: Path, sizes: ImageSizes) -> Splits:
    """Read a folder of images; see ``FolderData``.

    Raises:
        DataError: If a file is not an image, a class is empty, or a split has other classes than ``train``.
    """
    packed = idx_splits(path)
    if packed:
        return _read_idx(packed, sizes)
    folders = split_folders(path)
    if not folders:
        classes, files, labels = labelled_files(path)
        first, second = hold_out(list(range(len(files))), labels, TEST_FRACTION, 0, classes)
        first_part, second_part = (_images(sizes, files, labels, numbers) for numbers in (first, second))
        return Splits(classes, first_part, None, second_part)
    classes, files, labels = labelled_files(folders["train"])
    val, test = (
        _read_split(folders[split], folders["train"], classes, sizes) if split in folders else None
        for split in ("val", "test")
    )
    return Splits(classes, ImageFiles(sizes, files, labels), val, test)


def _read_idx(files: dict[str, Path], sizes: ImageSizes) -> Splits:
    splits = {split: read_labelled(path) for split, path in files.items()}
    counts = torch.cat([part.labels for part in splits.values()]).bincount()
    numbers = counts.nonzero().squeeze(1)
    stored: dict[str, StoredImages] = {}
    for split, part in splits.items():
        labels = torch.searchsorted(numbers, part.labels)
        stored[split] = StoredImages(_scaled(part.images, sizes), labels, split)
    classes = [str(number) for number in numbers.tolist()]
    return Splits(classes, stored["train"], None, stored.get("test"))


def _scaled(images: Tensor, sizes: ImageSizes) -> Tensor:
    """Grey images ``(N, height, width)`` as ``(N, *sizes)``, a thousand at a time."""
    parts = []
    for start in range(0, len(images), 1000):
        resized = F.resize(images[start : start + 1000].unsqueeze(1), [sizes.height])
        parts.append(F.center_crop(resized, [sizes.height, sizes.width]))
    return torch.cat(parts).expand(-1, sizes.channels, -1, -1)


def split_folders(path: Path) -> dict[str, Path]:
    """The folders of ``"train"``, ``"val"`` and ``"test"``, by the names of ``SPLIT_NAMES``.

    A folder of such a name that holds images itself is a class.

    Raises:
        DataError: If ``train`` is missing, a split is there twice, or splits lie beside classes.
    """
    if not path.is_dir():
        return {}
    found: dict[str, Path] = {}
    others = []
    for folder in subfolders(path):
        name = re.sub(r"[-_ ]|set$", "", folder.name.lower())
        split = next((split for split, names in SPLIT_NAMES.items() if name in names), None)
        if split is None or not subfolders(folder):
            others.append(folder.name)
        elif split in found:
            raise DataError(f"{path} has two folders for {split}: {found[split].name} and {folder.name}")
        else:
            found[split] = folder
    if found and (others or "train" not in found):
        have = ", ".join(folder.name for folder in found.values())
        what = f"beside {', '.join(others)}" if others else "and none to train on"
        raise DataError(
            f"{path} has the split {have} {what}: expected train, perhaps val and test, or a folder for each "
            "class"
        )
    return found


def _read_split(folder: Path, train: Path, classes: list[str], sizes: ImageSizes) -> ImageFiles:
    found, files, labels = labelled_files(folder)
    if unlike := sorted(set(found) ^ set(classes)):
        where = "has a class that is not in" if unlike[0] in found else "lacks a class of"
        raise DataError(f"{folder} {where} {train}: {', '.join(unlike)}")
    return ImageFiles(sizes, files, labels)


def _images(sizes: ImageSizes, files: list[Path], labels: Tensor, numbers: list[int]) -> ImageFiles:
    return ImageFiles(sizes, [files[number] for number in numbers], labels[numbers])
