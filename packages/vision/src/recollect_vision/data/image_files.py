"""Image files: listing folders of them and opening one."""

from pathlib import Path
from typing import IO, Literal

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from recollect.training import DataError


def image_files(path: Path) -> list[Path]:
    """An image file, or all that are in a folder and the folders in it, by name.

    Raises:
        DataError: If there is none.
    """
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMG_EXTENSIONS)
    if not files:
        what = "has no images in it" if path.is_dir() else "is neither an image nor a folder of images"
        raise DataError(f"{path} {what} ({', '.join(IMG_EXTENSIONS)})")
    return files


def labelled_files(folder: Path) -> tuple[list[str], list[Path], Tensor]:
    """Classes, files and labels of a folder that has a folder of images for each class.

    Raises:
        DataError: If there is no class, or one without images.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it should hold a folder of images for each class")
    try:
        found = ImageFolder(folder)
    except FileNotFoundError as error:
        raise DataError(f"{folder}: {error}") from error
    labels = torch.tensor(found.targets)
    return found.classes, [Path(path) for path, _ in found.samples], labels


def open_image(file: Path | IO[bytes], mode: Literal["L", "RGB"], place: str) -> Image.Image:
    """The image in a file, in grey or in colour.

    Args:
        file: Its path, or its bytes.
        mode: ``"L"`` for grey, ``"RGB"`` for colour; what is not so is turned into it.
        place: What it is called in errors.

    Raises:
        DataError: If it is no image, or a damaged one.
    """
    try:
        with Image.open(file) as image:
            return image.convert(mode)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{place} is not an image that can be read: {error}") from error
