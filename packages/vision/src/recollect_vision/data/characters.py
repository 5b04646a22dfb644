"""Drawings of characters as grey squares of one size."""

import io
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recollect.training import DataError
from recollect.training.folders import is_visible
from recollect_vision.data.image_files import image_files, open_image


class Character(NamedTuple):
    """One class.

    Attributes:
        alphabet: Name of its alphabet.
        name: Name within the alphabet.
        images: ``(n, 1, S, S)`` uint8, its drawings sorted by file name: 255 is ink, 0 is paper.
    """

    alphabet: str
    name: str
    images: Tensor


class CharacterFile(NamedTuple):
    """An encoded image.

    Attributes:
        place: Name of the file in errors.
        parts: Last parts of the path: alphabet, character, file.
        content: The bytes.
    """

    place: str
    parts: tuple[str, str, str]
    content: bytes


def read_character_folder(folder: Path, size: int) -> list[Character]:
    """Read the characters of ``folder/alphabet/character/*.png``, sorted by name.

    Raises:
        DataError: If there are none, or a file is not an image.
    """
    return group_characters(_files(folder), size, str(folder))


def read_archives(paths: Iterable[Path], size: int) -> list[Character]:
    """Read the characters of ``…/alphabet/character/*.png`` in zip files, sorted by name.

    Raises:
        DataError: If there are none, or an archive or one of the files is damaged.
    """
    paths = list(paths)
    return group_characters(_packed(paths), size, " and ".join(map(str, paths)))


def group_characters(files: Iterable[CharacterFile], size: int, place: str) -> list[Character]:
    """Group files into characters, sorted by alphabet and name; ``place`` is named in errors."""
    drawings: dict[tuple[str, str], list[tuple[str, Tensor]]] = defaultdict(list)
    for file in files:
        *character, name = file.parts
        drawings[character[0], character[1]].append((name, decode(file.content, size, file.place)))
    if not drawings:
        raise DataError(f"{place} holds no images laid out as alphabet/character/*.png")
    return [
        Character(*key, torch.stack([image for _, image in sorted(found, key=lambda entry: entry[0])]))
        for key, found in sorted(drawings.items(), key=lambda item: item[0])
    ]


def decode(content: bytes, size: int, place: str) -> Tensor:
    """Decode an image as ``(1, size, size)`` uint8, ink 255 on paper 0; other sizes are resampled.

    Raises:
        DataError: If it is not an image or is damaged; the message names ``place``.
    """
    grey = open_image(io.BytesIO(content), "L", place)
    if grey.size != (size, size):
        grey = grey.resize((size, size), Image.Resampling.BOX)  # area averaging keeps thin strokes
    return 255 - torch.from_numpy(np.array(grey)).unsqueeze(0)


def _files(folder: Path) -> Iterator[CharacterFile]:
    for path in image_files(folder):
        parts = path.relative_to(folder).parts
        if len(parts) != 3:
            raise DataError(f"{path} does not lie in alphabet/character below {folder}")
        yield CharacterFile(str(path), (parts[0], parts[1], parts[2]), path.read_bytes())


def _packed(paths: Iterable[Path]) -> Iterator[CharacterFile]:
    for path in paths:
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    parts = name.split("/")
                    if name.lower().endswith(".png") and len(parts) >= 3 and all(map(is_visible, parts)):
                        alphabet, character, file = parts[-3:]
                        yield CharacterFile(
                            f"{path}: {name}", (alphabet, character, file), archive.read(name)
                        )
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
            raise DataError(f"{path} is damaged: {error}") from error
