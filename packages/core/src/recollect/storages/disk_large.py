"""A space of a table on disk with too many rows for memory: an index proposes, the rows themselves decide."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recollect.ops.distance import MARGIN, Metric, row_distance
from recollect.storages.disk_directory import Directory
from recollect.storages.disk_index import Build, KeyIndex
from recollect.storages.engine import Found
from recollect.storages.lance_table import Array, Snapshot

PAGE = 1 << 14
"""Rows that are read at once while an index is built: other searches wait for as long."""


class LargeSpace:
    """Searches a space by an index that is built in a thread.

    Until it is built every row on disk is compared. From then on each search first brings the index up to
    the version that it reads: rows that were added since go in, rows that were erased go out.

    Args:
        directory: Which rows the table holds.
        space: The space.
        key_size: Width of keys.
        metric: Distance by which rows are ranked.
    """

    def __init__(self, directory: Directory, space: int, key_size: int, metric: Metric) -> None:
        self._directory, self._space, self._metric = directory, space, metric
        self._key_size = key_size
        self._index: KeyIndex | None = None
        self._build: Build | None = None
        self._version = -1

    # --- searching, while the directory is locked -----------------------------------------------------------

    def search(self, snapshot: Snapshot, queries: Tensor, k: int) -> Found:
        """Return the k rows nearest to each query, of those proposed."""
        rows = self._directory.of_space(self._space)
        self._follow(snapshot, rows)
        if self._index is not None:
            candidates = self._index.search(queries.numpy(), 2 * k + MARGIN)
            if ((candidates >= 0).sum(1) >= min(k, len(rows))).all():
                return self._rank(snapshot, queries, candidates, k)
        condition = None if len(rows) == len(self._directory.rows) else f"space = {self._space}"
        nearest = partial(snapshot.nearest, k + MARGIN, self._metric, condition)
        found = [nearest(query) for query in queries.numpy()]
        width = max(k, *(len(one) for one in found))
        padded = [np.pad(one, (0, width - len(one)), constant_values=-1) for one in found]
        return self._rank(snapshot, queries, np.stack(padded), k)

    def _rank(self, snapshot: Snapshot, queries: Tensor, candidates: Array, k: int) -> Found:
        """Rank proposed rows ``(Q, C)`` by the distance of their keys; −1 is no row."""
        candidates = np.sort(candidates, axis=1)  # of equally near rows the first ones
        held = np.unique(candidates[candidates >= 0])
        keys, values = map(torch.from_numpy, self._directory.fetch(snapshot, held, ("key", "value")))
        absent = torch.from_numpy(candidates < 0)
        place = torch.from_numpy(np.searchsorted(held, candidates)).masked_fill(absent, 0)
        distance = row_distance(queries, keys[place], self._metric).masked_fill(absent, torch.inf)
        order = distance.sort(dim=-1, stable=True).indices[:, :k]
        place, absent = place.gather(1, order), absent.gather(1, order)
        rows = torch.from_numpy(candidates).gather(1, order)
        keys, values = (part[place].masked_fill(absent.unsqueeze(-1), 0) for part in (keys, values))
        return Found(rows, keys, values)

    # --- the index ------------------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Share of the rows that are in the index."""
        if self._index is not None:
            return 1.0
        return 0.0 if self._build is None else min(self._build.progress, 0.999)

    def follow(self, snapshot: Snapshot) -> None:
        """Start to build the index, take it when it is built, and bring it up to a version."""
        self._follow(snapshot, self._directory.of_space(self._space))

    def _follow(self, snapshot: Snapshot, rows: Array) -> None:
        if self._build is not None and (built := self._build.result()) is not None:
            self._index, self._build, self._version = built, None, -1
        if self._index is not None and self._version != snapshot.version:
            self._update(self._index, snapshot, rows)
            self._version = snapshot.version
        if self._build is None and (self._index is None or len(rows) > self._index.limit):
            index = KeyIndex(self._key_size, self._metric, len(rows))
            self._build = Build(index, self._sample, self._pages, len(rows))

    def _update(self, index: KeyIndex, snapshot: Snapshot, rows: Array) -> None:
        gone = index.rows[~_among(index.rows, rows)]
        if len(gone):
            index.remove(gone)
        new = rows[np.searchsorted(rows, index.rows[-1], side="right") :] if len(index.rows) else rows
        for start in range(0, len(new), PAGE):
            page = new[start : start + PAGE]
            index.add(page, *self._directory.fetch(snapshot, page, ("key",)))

    def _sample(self, count: int) -> Array:
        """Keys of rows drawn at random."""
        rows = self._directory.read(lambda snapshot: self._directory.of_space(self._space))
        drawn = np.random.default_rng(0).choice(rows, min(count, len(rows)), replace=False)
        nothing = np.empty((0, self._key_size), np.float32)
        return np.concatenate([nothing, *(keys for _, keys in self._read(np.sort(drawn)))])

    def _pages(self) -> Iterator[tuple[Array, Array]]:
        rows = self._directory.read(lambda snapshot: self._directory.of_space(self._space))
        return self._read(rows)

    def _read(self, rows: Array) -> Iterator[tuple[Array, Array]]:
        """Read keys of rows a page at a time, each at the version of its time."""

        def page(snapshot: Snapshot, some: Array) -> tuple[Array, Array]:
            held = self._directory.held(some)
            return held, self._directory.fetch(snapshot, held, ("key",))[0]

        for start in range(0, len(rows), PAGE):
            yield self._directory.read(partial(page, some=rows[start : start + PAGE]))

    def stop(self) -> None:
        """Stop building."""
        if self._build is not None:
            self._build.stop()


def _among(rows: Array, others: Array) -> Array:
    """Whether each of some rows is among others, both in order."""
    if not len(others):
        return np.zeros(len(rows), bool)
    place = np.searchsorted(others, rows).clip(max=len(others) - 1)
    return np.asarray(others[place] == rows)
