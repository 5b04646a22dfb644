"""Opening image files."""

from pathlib import Path
from typing import IO, Literal

from PIL import Image, UnidentifiedImageError

from recollect.training import DataError


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
