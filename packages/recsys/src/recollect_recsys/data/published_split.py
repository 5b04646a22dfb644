"""Published splits: two files, fetched where they are missing, whose contents are checked."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recollect.training import DataError, data_folder, fetch
from recollect_recsys.data.collaborative import CollaborativeData, Interactions
from recollect_recsys.data.events import Events


class Part(NamedTuple):
    """One file of a split.

    Attributes:
        name: What it is called.
        sha256: Checksum of its pairs, see ``fingerprint``.
    """

    name: str
    sha256: str


def fingerprint(events: Events) -> str:
    """Sha256 of the pairs as sorted 64-bit little-endian integers, user before item.

    Copies that differ in the order of lines or items, in line ends or in packing have the same.

    Example:
        >>> one = Events("", ["1", "0"], ["5", "7"], None, [1, 2])
        >>> fingerprint(one) == fingerprint(Events("", ["0", "1"], ["7", "5"], None, [1, 2]))
        True
    """
    pairs = np.array([events.users, events.items]).astype("<i8")
    pairs = pairs[:, np.lexsort(pairs[::-1])]
    return hashlib.sha256(np.ascontiguousarray(pairs.T).tobytes()).hexdigest()


def fetch_part(folder: str, url: str, part: Part) -> Path:
    """The file, plain or packed by gzip, downloaded where it is missing."""
    for path in (data_folder(folder) / part.name, data_folder(folder) / f"{part.name}.gz"):
        if path.is_file():
            return path
    return fetch(f"{url}/{part.name}", None, data_folder(folder))


class PublishedSplit(CollaborativeData):
    """A split that others have published, in two files."""

    folder: str
    """Where it is kept, in the folder of datasets."""

    url: str
    """Its official address, without the names of the files."""

    parts: tuple[Part, Part]
    """Training and test."""

    reader: Callable[[Path], Events]
    """Reads a file."""

    def prepare_data(self) -> None:
        """Download what is missing."""
        for part in self.parts:
            fetch_part(self.folder, self.url, part)

    def read(self) -> Interactions:
        """Both files, held to their checksums.

        Raises:
            DataError: If a file holds other pairs than the published ones.
        """
        learnt, test = (self._read(part) for part in self.parts)
        return Interactions(learnt, test)

    def _read(self, part: Part) -> Events:
        path = fetch_part(self.folder, self.url, part)
        events = type(self).reader(path)
        if fingerprint(events) != part.sha256:
            raise DataError(
                f"{path} does not hold the published pairs of user and item: it is damaged or of another "
                f"version. Delete it to have it downloaded again from {self.url}/{part.name}"
            )
        return events
