"""An index in memory over the keys of a large space: an inverted file with keys of one byte a number."""

import ctypes
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np

from recollect.ops.distance import Metric
from recollect.storages.lance_table import Array

LISTS = 2048
"""Lists at most: with more of them it takes longer to add a row than to read it."""

SAMPLE = 40
"""Keys for each list by which the lists are found."""

ROUNDS = 5
"""Rounds of k-means."""

PROBED, FEWEST = 16, 32
"""A search looks into one of so many lists, and into so many at least."""

GROWTH = 4
"""An index is made anew when it holds so many times the rows for which its lists were found."""


class KeyIndex:
    """Numbers of rows by key, at one byte for each number of a key, in lists around centres of k-means.

    An inverted file of scalar-quantised vectors (Jégou et al. 2011; FAISS ``IVF,SQ8``). It is approximate in
    which rows it proposes; the caller ranks those by their keys. Rows can be added and removed.

    Args:
        width: Width of keys.
        metric: Distance by which rows are proposed.
        rows: How many are expected.
    """

    def __init__(self, width: int, metric: Metric, rows: int) -> None:
        self._width, self._metric = width, metric
        self._lists = min(LISTS, 2 * math.isqrt(rows))
        self.sample = SAMPLE * self._lists
        self.limit = GROWTH * rows
        self.rows = np.empty(0, np.int64)
        self._index: Any = None

    def train(self, keys: Array) -> None:
        """Find the lists by a sample of ``sample`` keys or fewer."""
        if not len(keys):
            keys = np.zeros((1, self._width), np.float32)
        lists = min(self._lists, len(keys))
        kind = faiss.METRIC_L2 if self._metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self._index = faiss.index_factory(self._width, f"IVF{lists},SQ8", kind)
        self._index.cp.niter, self._index.cp.min_points_per_centroid = ROUNDS, 1
        self._index.nprobe = max(FEWEST, lists // PROBED)
        self._index.train(self._normal(keys))

    def add(self, rows: Array, keys: Array) -> None:
        """Add rows, with numbers beyond those held."""
        self._index.add_with_ids(self._normal(keys), rows)
        self.rows = np.concatenate([self.rows, rows])

    def remove(self, rows: Array) -> None:
        """Remove rows that are held."""
        self._index.remove_ids(rows)
        self.rows = self.rows[~np.isin(self.rows, rows, assume_unique=True)]

    def search(self, queries: Array, count: int) -> Array:
        """Propose about ``count`` rows ``(Q, count)`` for each query; −1 where there are fewer."""
        found: Array = self._index.search(self._normal(queries), count)[1]
        return found

    def _normal(self, keys: Array) -> Array:
        keys = np.ascontiguousarray(keys, np.float32)
        if self._metric == "cosine":
            keys = keys / np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-12)
        return keys


Pages = Callable[[], Iterator[tuple[Array, Array]]]
"""Numbers and keys of the rows of a space, a page at a time, in the order of numbers."""


def release_memory() -> None:
    """Give back memory that glibc keeps of what was read; other C libraries do so by themselves."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class Build:
    """An index that is being built in a thread.

    Args:
        index: The empty index.
        sample: Reads keys to train it with.
        pages: Reads the rows.
        total: How many there are.
    """

    def __init__(self, index: KeyIndex, sample: Callable[[int], Array], pages: Pages, total: int) -> None:
        self.total = total
        self.done = 0
        self.error: BaseException | None = None
        self._index, self._sample, self._pages = index, sample, pages
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recollect-index", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._index.train(self._sample(self._index.sample))
            for rows, keys in self._pages():
                if self._stopped.is_set():
                    return
                self._index.add(rows, keys)
                self.done += len(rows)
            release_memory()
        except BaseException as error:
            self.error = error

    @property
    def progress(self) -> float:
        """Share of the rows that are in the index."""
        return min(1.0, self.done / self.total)

    def result(self) -> KeyIndex | None:
        """Return the index once it is built.

        Raises:
            RuntimeError: If that failed.
        """
        if self._thread.is_alive():
            return None
        if self.error is not None:
            raise RuntimeError(f"the index could not be built: {self.error}") from self.error
        return self._index

    def stop(self) -> None:
        """Give up after the next page; do not wait, since the thread may need a lock of the caller."""
        self._stopped.set()
