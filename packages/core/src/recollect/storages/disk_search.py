"""Searches of a table on disk: small spaces are held in memory, large ones have an index."""

from collections import OrderedDict

from torch import Tensor

from recollect.ops.distance import Metric
from recollect.storages.disk_directory import Directory
from recollect.storages.disk_large import LargeSpace
from recollect.storages.disk_shelf import Shelf, empty_shelf
from recollect.storages.engine import Found
from recollect.storages.lance_table import Array, Snapshot

SHELVES = 64
"""Spaces that are held in memory; those searched last stay."""


class Searcher:
    """Searches spaces, each at the version of its directory.

    Args:
        directory: Which rows the table holds.
        key_size: Width K of keys.
        value_size: Width V of values.
        metric: Distance by which rows are ranked.
        exact: Rows of a space up to which it is held in memory and searched exactly.
    """

    def __init__(
        self, directory: Directory, key_size: int, value_size: int, metric: Metric, exact: int
    ) -> None:
        self._directory, self._metric, self._exact = directory, metric, exact
        self._key_size, self._value_size = key_size, value_size
        self._shelves: OrderedDict[int, tuple[int, Shelf]] = OrderedDict()  # version and rows, by space
        self._large: dict[int, LargeSpace] = {}

    def search(self, queries: Tensor, k: int, spaces: Tensor) -> Found:
        """Return the k rows nearest to each query ``(Q, K)`` in its space ``(Q,)``."""
        numbers = sorted(set(spaces.tolist()))
        shape = (len(queries), k)
        found = Found(
            spaces.new_empty(shape),
            queries.new_empty(*shape, self._key_size),
            queries.new_empty(*shape, self._value_size),
        )

        def read(snapshot: Snapshot) -> list[Shelf | Found]:
            return [self._begin(snapshot, number, queries[spaces == number], k) for number in numbers]

        # Shelves never change, so they are searched while other threads read on.
        for number, part in zip(numbers, self._directory.read(read), strict=True):
            own = spaces == number
            rows = part.search(queries[own], k, self._metric) if isinstance(part, Shelf) else part
            for whole, some in zip(found, rows, strict=True):
                whole[own] = some
        return found

    def _begin(self, snapshot: Snapshot, space: int, queries: Tensor, k: int) -> Shelf | Found:
        if (large := self._large_space(space)) is not None:
            return large.search(snapshot, queries, k)
        return self._shelf(snapshot, space)

    def _large_space(self, space: int) -> LargeSpace | None:
        """Return the index of a space, if it is large."""
        count = self._directory.size(space)
        if count <= self._exact:
            if (small := self._large.pop(space, None)) is not None:
                small.stop()
            return None
        self._shelves.pop(space, None)
        if space not in self._large:
            self._large[space] = LargeSpace(self._directory, space, self._key_size, self._metric)
        return self._large[space]

    def _shelf(self, snapshot: Snapshot, space: int) -> Shelf:
        """Return the rows of a space at a version."""
        version, shelf = self._shelves.pop(space, (-1, empty_shelf(self._key_size, self._value_size)))
        if version != snapshot.version:

            def fetch(rows: Array) -> tuple[Array, Array]:
                keys, values = self._directory.fetch(snapshot, rows, ("key", "value"))
                return keys, values

            shelf = shelf.updated(self._directory.of_space(space), fetch)
        self._shelves[space] = snapshot.version, shelf
        if len(self._shelves) > SHELVES:
            self._shelves.popitem(last=False)
        return shelf

    def progress(self, space: int) -> float:
        """Share of the rows of a space that are in its index; starts to build it. 1 without an index."""

        def read(snapshot: Snapshot) -> float:
            if (large := self._large_space(space)) is None:
                return 1.0
            large.follow(snapshot)
            return large.progress

        return self._directory.read(read)

    def close(self) -> None:
        """Stop building indexes."""
        for large in self._large.values():
            large.stop()
        self._large.clear()
        self._shelves.clear()
