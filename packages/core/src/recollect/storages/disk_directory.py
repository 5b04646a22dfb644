"""Which rows a table on disk holds, and where: what must be known before any is read."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from recollect.storages.lance_table import Array, LanceTable, Snapshot, is_cleaned

T = TypeVar("T")

ATTEMPTS = 20
"""How often a read begins anew because the version that it reads has been cleaned up."""


class Directory:
    """Numbers, spaces and places of all rows at the last version, 24 bytes a row, in memory.

    ``refresh`` costs a look at the number of the version, if there is no new one. Otherwise it reads what
    is new: rows are numbered in the order of their commits, so those are the rows beyond the last number.
    If the count then differs, rows were erased, and everything is read again.

    Args:
        table: The table.
    """

    def __init__(self, table: LanceTable) -> None:
        self._table = table
        self._snapshot: Snapshot | None = None
        self.rows = np.empty(0, np.int64)
        self.spaces = np.empty(0, np.int64)
        self._places = np.empty(0, np.uint64)
        self._sizes: dict[int, int] | None = None  # by space
        self._mutex = threading.RLock()

    def read(self, function: Callable[[Snapshot], T]) -> T:
        """Call a function with the last version. No other thread reads another version meanwhile.

        The function is called again if that version was cleaned up before it had read all.

        Raises:
            OSError: If the version cannot be read.
        """
        with self._mutex:
            for _ in range(ATTEMPTS):
                try:
                    return function(self._refresh())
                except (RuntimeError, OSError, ValueError) as error:
                    if not is_cleaned(error):
                        raise
                    self._snapshot, cleaned = None, error
        raise OSError(f"each version was cleaned up while it was read: {cleaned}") from cleaned

    def _refresh(self) -> Snapshot:
        version = self._table.version
        if self._snapshot is None or self._snapshot.version != version:
            snapshot = self._table.pinned(version)
            self._load(snapshot, after=int(self.rows[-1]) if len(self.rows) else -1)
            if len(self.rows) != snapshot.count():
                self._load(snapshot, after=-1)
            self._snapshot = snapshot
        return self._snapshot

    def _load(self, snapshot: Snapshot, after: int) -> None:
        """Read the rows with numbers beyond ``after``."""
        condition = f"row > {after}" if after >= 0 else None
        rows, spaces, places = snapshot.where(condition, "row", "space", "_rowid")
        order = np.argsort(rows, kind="stable")
        kept = np.searchsorted(self.rows, after, side="right")
        self.rows = np.concatenate([self.rows[:kept], rows[order]])
        self.spaces = np.concatenate([self.spaces[:kept], spaces[order]])
        self._places = np.concatenate([self._places[:kept], places[order]])
        self._sizes = None

    def of_space(self, space: int | None) -> Array:
        """Numbers of the rows of a space, or of all, in order."""
        if space is None or self.size(space) == len(self.rows):
            return self.rows
        return np.asarray(self.rows[self.spaces == space])

    def size(self, space: int) -> int:
        """Number of rows of a space."""
        if self._sizes is None:
            numbers, counts = np.unique(self.spaces, return_counts=True)
            self._sizes = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        return self._sizes.get(space, 0)

    def held(self, rows: Array) -> Array:
        """Those of some rows that are in the table, in order and each once."""
        rows = np.unique(rows)
        place = np.searchsorted(self.rows, rows)
        inside = place < len(self.rows)
        return np.asarray(rows[inside][self.rows[place[inside]] == rows[inside]])

    def places(self) -> Array:
        """Places of all rows: fragment · 2³² + offset."""
        return self._places

    def fetch(self, snapshot: Snapshot, rows: Array, columns: Sequence[str]) -> list[Array]:
        """Read columns of rows that are in the table, in the order of ``rows``.

        A place may have changed, by a compaction; then all places are read again.
        """
        found = self._fetch(snapshot, rows, columns)
        if found is None:
            self._load(snapshot, after=-1)
            found = self._fetch(snapshot, rows, columns)
        if found is None:
            raise OSError(f"rows that the table holds at version {snapshot.version} cannot be read")
        return found

    def _fetch(self, snapshot: Snapshot, rows: Array, columns: Sequence[str]) -> list[Array] | None:
        numbers, inverse = np.unique(rows, return_inverse=True)
        places = self._places[np.searchsorted(self.rows, numbers)]
        taken, *read = snapshot.take(places, "row", *columns)
        order = np.argsort(taken, kind="stable")
        if not np.array_equal(taken[order], numbers):
            return None
        return [column[order][inverse] for column in read]
