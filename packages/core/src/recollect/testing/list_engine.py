"""An engine in plain lists, which says what every engine must do; it forgets all when the process ends."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recollect.ops.distance import Metric, check_metric, nearest_slots
from recollect.storages.engine import Engine, Found, Origin, Rows
from recollect.storages.engine_input import check_new_rows, check_search
from recollect.validation import check_positive


class _Row(NamedTuple):
    key: Tensor
    value: Tensor
    origin: Origin
    space: int


class ListEngine(Engine):
    """Rows in a dictionary, searched one by one: the reference for other engines.

    Args:
        key_size: Width K of keys.
        value_size: Width V of values.
        metric: ``"l2"``, ``"cosine"`` or ``"dot"``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> engine = ListEngine(key_size=1, value_size=1)
        >>> engine.add(torch.tensor([[1.0], [5.0]]), torch.zeros(2, 1), sources=["a", "b"])
        tensor([0, 1])
        >>> engine.search(torch.tensor([[4.0]]), k=1).rows
        tensor([[1]])
        >>> engine.erase(torch.tensor([1])), engine.sources()
        (1, {'a': 1})
    """

    def __init__(self, key_size: int, value_size: int, metric: Metric = "l2") -> None:
        check_positive(key_size=key_size, value_size=value_size)
        check_metric(metric)
        self.key_size, self.value_size, self.metric = key_size, value_size, metric
        self._rows: dict[int, _Row] = {}
        self._next = self._version = 0
        self._fingerprint: str | None = None
        self._lock = threading.RLock()

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Sizes, metric and fingerprint."""
        sizes = {"key_size": self.key_size, "value_size": self.value_size}
        return {**sizes, "metric": self.metric, "fingerprint": self._fingerprint}

    def add(
        self, keys: Tensor, values: Tensor, sources: str | Sequence[str] = "", space: int | Tensor = 0
    ) -> Tensor:
        """Add rows with the next numbers."""
        rows = check_new_rows(self, keys, values, sources, space)
        now = time.time()
        with self._lock:
            first = self._next
            for key, value, source, place in zip(*rows[:3], rows.spaces.tolist(), strict=True):
                self._rows[self._next] = _Row(
                    key.clone(), value.clone(), Origin(self._next, source, now), place
                )
                self._next += 1
            self._version += len(rows.keys) > 0
            return torch.arange(first, self._next, device="cpu")

    def search(self, queries: Tensor, k: int, space: int | Tensor = 0) -> Found:
        """Compare each query to each row of its space."""
        queries, spaces = check_search(self, queries, k, space)
        numbers = torch.full((len(queries), k), -1, device="cpu")
        keys, values = (
            queries.new_zeros(len(queries), k, self.key_size),
            queries.new_zeros(len(queries), k, self.value_size),
        )
        with self._lock:
            for query, place in enumerate(spaces.tolist()):
                rows = self._chosen(None, place)
                if rows:
                    table = torch.stack([row.key for row in rows]).double()
                    present = torch.ones(len(rows), dtype=torch.bool, device="cpu")
                    one = queries[query : query + 1].double()
                    best = nearest_slots(one, table, present, k, self.metric)[0].tolist()
                    for rank, row in enumerate(rows[slot] for slot in best if slot >= 0):
                        numbers[query, rank] = row.origin.row
                        keys[query, rank], values[query, rank] = row.key, row.value
        return Found(numbers, keys, values)

    def erase(self, rows: Tensor, *, purge: bool = False) -> int:
        """Drop rows from the dictionary; nothing else holds their bytes."""
        with self._lock:
            gone = [self._rows.pop(row) for row in set(rows.tolist()) if row in self._rows]
            self._version += bool(gone)
            return len(gone)

    def origins(self, rows: Tensor) -> list[Origin | None]:
        """Look up rows."""
        with self._lock:
            return [self._rows[row].origin if row in self._rows else None for row in rows.tolist()]

    def scan(
        self, sources: Sequence[str] | None = None, space: int | None = 0, *, size: int = 65536
    ) -> Iterator[Rows]:
        """Read a copy of the list of rows."""
        check_positive(size=size)
        chosen = self._chosen(sources, space)
        for rows in (chosen[start : start + size] for start in range(0, len(chosen), size)):
            keys, values = torch.stack([row.key for row in rows]), torch.stack([row.value for row in rows])
            yield Rows(keys, values, [row.origin for row in rows])

    def _chosen(self, sources: Sequence[str] | None, space: int | None) -> list[_Row]:
        with self._lock:
            return [
                row
                for row in self._rows.values()
                if (space is None or row.space == space)
                and (sources is None or row.origin.source in set(sources))
            ]

    def sources(self, space: int | None = 0) -> dict[str, int]:
        """Count the rows of each source."""
        return dict(Counter(row.origin.source for row in self._chosen(None, space)))

    def count(self, space: int | None = 0) -> int:
        """Count the rows."""
        return len(self._chosen(None, space))

    @property
    def version(self) -> int:
        """Number of changes."""
        return self._version

    def claim(self, fingerprint: str) -> None:
        """Keep the first fingerprint."""
        with self._lock:
            if self._fingerprint not in (None, fingerprint):
                raise ValueError(
                    f"this store holds keys of the model {self._fingerprint}, not of {fingerprint}"
                )
            self._fingerprint = fingerprint

    def compact(self) -> None:
        """Do nothing: there are no files."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
