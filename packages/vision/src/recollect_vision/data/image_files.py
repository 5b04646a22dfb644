"""Image files: listing folders of them and opening one."""

import warnings
from pathlib import Path
from typing import IO, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from recollect.training import DataError
from recollect.training.folders import files_below, subfolders
from recollect.training.text import normalize


def image_files(path: Path) -> list[Path]:
    """List an image file, or all image files below a folder, links followed, sorted by name.

    Raises:
        DataError: If there is none.
    """
    if path.is_file():
        return [path]
    files = files_below(path, IMG_EXTENSIONS)
    if not files:
        what = "has no images in it" if path.is_dir() else "is neither an image nor a folder of images"
        raise DataError(f"{path} {what} ({', '.join(IMG_EXTENSIONS)})")
    return files


def labelled_files(folder: Path) -> tuple[list[str], list[Path], Tensor]:
    """List classes, files and labels of a folder with a subfolder of images for each class.

    Hidden folders and what systems leave (``__MACOSX``) are no classes. Names are in Unicode normal form C.

    Raises:
        DataError: If there is no class, or a class has no images.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it should hold a folder of images for each class")
    found = {normalize(each.name): files_below(each, IMG_EXTENSIONS) for each in subfolders(folder)}
    classes = sorted(found)
    if not classes:
        raise DataError(f"{folder} has no folders in it; it should hold a folder of images for each class")
    if empty := [name for name in classes if not found[name]]:
        raise DataError(f"{folder} has no images of {', '.join(empty)} ({', '.join(IMG_EXTENSIONS)})")
    labels = [label for label, name in enumerate(classes) for _ in found[name]]
    return classes, [path for name in classes for path in found[name]], torch.tensor(labels)


def open_image(file: Path | IO[bytes], mode: Literal["L", "RGB"], place: str) -> Image.Image:
    """Open an image file in grey or in colour, upright and with 8 bits, as a viewer shows it.

    The EXIF orientation is applied. 16 bits become 8, floats in [0, 1] too. What is transparent shows white.

    Args:
        file: Its path, or its bytes.
        mode: ``"L"`` for grey, ``"RGB"`` for colour; other images are converted.
        place: Name of the file in errors.

    Raises:
        DataError: If the file is not an image, is damaged or too large, or has values without a known range.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                return _converted(ImageOps.exif_transpose(image), mode)
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise DataError(f"{place} has more than {limit:.0f} megapixels: scale it down first") from error
    except Exception as error:  # decoders of damaged files raise whatever their format makes them
        raise DataError(f"{place} is not an image that can be read: {error}") from error


def _converted(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        grey = np.asarray(image).astype(np.float64) / 257  # 65535 is 255
        return Image.fromarray(grey.round().astype(np.uint8)).convert(mode)
    if image.mode == "F":
        return Image.fromarray((_unit_range(image) * 255).round().astype(np.uint8)).convert(mode)
    if image.mode == "I":
        raise ValueError("its values are 32-bit integers, whose range is unknown; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert(mode)
    return image.convert(mode)


def _unit_range(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values = np.asarray(image).astype(np.float64)
    if not (values.min() >= 0 and values.max() <= 1):  # true for NaN as well
        raise ValueError(
            f"its values are floats from {values.min():g} to {values.max():g}, not from 0 to 1; save it with "
            "8 or 16 bits"
        )
    return values
