"""Images and labels in idx files, the format of MNIST and its relatives."""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from recollect.training import DataError
from recollect.training.folders import is_visible
from recollect.training.text import read_bytes

UNSIGNED_BYTE = 8


class LabelledImages(NamedTuple):
    """The images of one split.

    Attributes:
        images: ``(N, height, width)`` uint8.
        labels: ``(N,)`` int64.
    """

    images: Tensor
    labels: Tensor


def idx_splits(folder: Path) -> dict[str, Path]:
    """The files of images in a folder by split, ``"train"`` and ``"test"``; none if there are no idx files.

    Names are as MNIST's (``train-images-idx3-ubyte``, ``t10k-images-idx3-ubyte.gz``) or EMNIST's
    (``emnist-letters-test-images-idx3-ubyte``).

    Raises:
        DataError: If there are several for a split, or none to train on.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = path.name.removesuffix(".gz")
        if not (path.is_file() and is_visible(name) and "images" in name and "idx3" in name):
            continue
        split = "train" if "train" in name else "test"
        if found.get(split, path).name.removesuffix(".gz") != name:
            raise DataError(
                f"{folder} has several files of images for {split}: {found[split].name}, {path.name}"
            )
        found.setdefault(split, path)  # unpacked or packed, whichever comes first
    if found and "train" not in found:
        raise DataError(f"{folder} has {found['test'].name} and no file of images to train on")
    return found


def read_labelled(images: Path) -> LabelledImages:
    """Read a file of images and the file of labels beside it.

    Raises:
        DataError: If one is missing or damaged, or their numbers differ.
    """
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    beside = [images.with_name(name), images.with_name(f"{name}.gz")]
    labels = next((path for path in beside if path.is_file()), beside[0])
    found = LabelledImages(read_idx(images, 3), read_idx(labels, 1).long())
    if len(found.images) != len(found.labels):
        raise DataError(f"{images} has {len(found.images)} images, but {labels} {len(found.labels)} labels")
    return found


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read an idx file of bytes, plain or gzipped.

    The file begins with two zero bytes, the type, the number of dimensions, and their sizes as big-endian
    32-bit numbers (Y. LeCun, http://yann.lecun.com/exdb/mnist/).

    Raises:
        DataError: If it is something else, or has more or fewer bytes than it says.
    """
    content = read_bytes(path)
    begin = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)) or len(content) < begin:
        raise DataError(f"{path} is not an idx file of bytes with {dimensions} dimensions")
    sizes = [int.from_bytes(content[place : place + 4], "big") for place in range(4, begin, 4)]
    if len(content) != begin + math.prod(sizes):
        raise DataError(
            f"{path} has {len(content) - begin} bytes where {' × '.join(map(str, sizes))} are announced"
        )
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return values[begin:].reshape(sizes)
