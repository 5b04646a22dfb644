"""Published splits: two files, downloaded if missing, with checksums."""

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
        name: Name of the file.
        sha256: Checksum of its pairs, see ``fingerprint``.
    """

    name: str
    sha256: str


def fingerprint(events: Events) -> str:
    """Sha256 of the pairs as sorted 64-bit little-endian integers, user before item.

    The fingerprint ignores the order of lines and items, line endings and compression.

    Example:
        >>> one = Events("", ["1", "0"], ["5", "7"], None, [1, 2])
        >>> fingerprint(one) == fingerprint(Events("", ["0", "1"], ["7", "5"], None, [1, 2]))
        True
    """
    pairs = np.array([events.users, events.items]).astype("<i8")
    pairs = pairs[:, np.lexsort(pairs[::-1])]
    return hashlib.sha256(np.ascontiguousarray(pairs.T).tobytes()).hexdigest()


def fetch_part(folder: str, url: str, part: Part) -> Path:
    """Return the file, plain or gzipped, downloaded if missing."""
    for path in (data_folder(folder) / part.name, data_folder(folder) / f"{part.name}.gz"):
        if path.is_file():
            return path
    return fetch(f"{url}/{part.name}", None, data_folder(folder))


class PublishedSplit(CollaborativeData):
    """A published split in two files."""

    folder: str
    """Folder within the data folder."""

    url: str
    """Official URL without the file names."""

    parts: tuple[Part, Part]
    """Training and test file."""

    reader: Callable[[Path], Events]
    """Reads a file."""

    def prepare_data(self) -> None:
        """Download missing files."""
        for part in self.parts:
            fetch_part(self.folder, self.url, part)

    def read(self) -> Interactions:
        """Read both files and verify their checksums.

        Raises:
            DataError: If a file has other pairs than the published ones.
        """
        train, test = (self._read(part) for part in self.parts)
        return Interactions(train, test)

    def _read(self, part: Part) -> Events:
        path = fetch_part(self.folder, self.url, part)
        events = type(self).reader(path)
        if fingerprint(events) != part.sha256:
            raise DataError(
                f"{path} does not hold the published pairs of user and item: it is damaged or of another "
                f"version. Delete it to have it downloaded again from {self.url}/{part.name}"
            )
        return events
