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
    """List an image file, or all image files below a folder, sorted by name.

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
    """List classes, files and labels of a folder with a subfolder of images for each class.

    Raises:
        DataError: If there is no class, or a class has no images.
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
    """Open an image file in grey or in colour.

    Args:
        file: Its path, or its bytes.
        mode: ``"L"`` for grey, ``"RGB"`` for colour; other images are converted.
        place: Name of the file in errors.

    Raises:
        DataError: If the file is not an image or is damaged.
    """
    try:
        with Image.open(file) as image:
            return image.convert(mode)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{place} is not an image that can be read: {error}") from error
