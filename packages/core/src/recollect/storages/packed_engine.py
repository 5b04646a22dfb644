"""An engine in memory that keeps codes of keys instead of keys."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from recollect.ops.distance import Metric, check_metric, nearest_slots, row_distance
from recollect.storages.codecs import Codec
from recollect.storages.engine import Engine, Found, Origin, Rows
from recollect.storages.engine_input import NewRows, check_new_rows, check_search
from recollect.validation import check_positive

BLOCK = 65536
"""Rows that are decoded at once."""


class Columns(NamedTuple):
    """Rows of a ``PackedEngine``; the arrays have room for more.

    Attributes:
        codes: ``(n, bytes)`` uint8.
        values: ``(n, V)`` float32.
        numbers: ``(n,)`` int64, increasing.
        spaces: ``(n,)`` int64.
        sources: ``(n,)`` int32, index of the name.
        times: ``(n,)`` float64.
        alive: ``(n,)`` bool, false for rows that were erased.
    """

    codes: Tensor
    values: Tensor
    numbers: Tensor
    spaces: Tensor
    sources: Tensor
    times: Tensor
    alive: Tensor


@final
class PackedEngine(Engine):
    """Rows in memory whose keys are kept as codes, searched one after the other by the keys that these give.

    Rows are added behind those that there are, and an erase makes another column ``alive``: a search reads
    what it began with, without a lock.

    Args:
        codec: The codec, fitted to keys; see ``Int8``, ``PCA`` and ``ProductQuantizer``.
        value_size: Width V of values.
        metric: ``"l2"``, ``"cosine"`` or ``"dot"``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect.storages.codecs import Int8
        >>> keys = torch.randn(100, 8)
        >>> engine = PackedEngine(Int8(8).fit(keys), value_size=1)
        >>> rows = engine.add(keys, torch.zeros(100, 1), "a")
        >>> engine.search(keys[:3], k=1).rows.flatten()
        tensor([0, 1, 2])
        >>> engine.code_bytes
        800
    """

    def __init__(self, codec: Codec, value_size: int, metric: Metric = "l2") -> None:
        check_positive(value_size=value_size)
        check_metric(metric)
        self.codec, self.key_size, self.value_size, self.metric = codec, codec.key_size, value_size, metric
        self._columns = self._empty(0)
        self._count = self._next = self._version = 0
        self._names: dict[str, int] = {}
        self._fingerprint: str | None = None
        self._lock = threading.RLock()

    def _empty(self, size: int) -> Columns:
        return Columns(
            torch.zeros(size, self.codec.code_size, dtype=torch.uint8, device="cpu"),
            torch.zeros(size, self.value_size, device="cpu"),
            torch.zeros(size, dtype=torch.int64, device="cpu"),
            torch.zeros(size, dtype=torch.int64, device="cpu"),
            torch.zeros(size, dtype=torch.int32, device="cpu"),
            torch.zeros(size, dtype=torch.float64, device="cpu"),
            torch.zeros(size, dtype=torch.bool, device="cpu"),
        )

    @property
    def code_bytes(self) -> int:
        """Bytes of the keys' codes."""
        return self.codec.code_size * self.count(None)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns of the rows."""
        return self.count(None) * sum(column[:1].nbytes for column in self._empty(1))

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Sizes, metric, fingerprint and codec."""
        sizes = {"key_size": self.key_size, "value_size": self.value_size, "codec": repr(self.codec)}
        return {**sizes, "metric": self.metric, "fingerprint": self._fingerprint}

    def add(
        self, keys: Tensor, values: Tensor, sources: str | Sequence[str] = "", space: int | Tensor = 0
    ) -> Tensor:
        """See ``Engine.add``."""
        rows = check_new_rows(self, keys, values, sources, space)
        return self._add(rows, torch.full((len(rows.keys),), time.time(), dtype=torch.float64, device="cpu"))

    def load(self, rows: Rows) -> Tensor:
        """Add rows of another store with their sources and times, and return their numbers."""
        new = check_new_rows(self, rows.keys, rows.values, [origin.source for origin in rows.origins], 0)
        return self._add(
            new, torch.tensor([origin.time for origin in rows.origins], dtype=torch.float64, device="cpu")
        )

    def _add(self, rows: NewRows, times: Tensor) -> Tensor:
        codes, count = self.codec.encode(rows.keys), len(rows.keys)
        with self._lock:
            for name in rows.sources:
                self._names.setdefault(name, len(self._names))
            numbers = torch.arange(self._next, self._next + count, device="cpu")
            names = torch.tensor(
                [self._names[name] for name in rows.sources], dtype=torch.int32, device="cpu"
            )
            new = Columns(
                codes,
                rows.values,
                numbers,
                rows.spaces,
                names,
                times,
                torch.ones(count, dtype=torch.bool, device="cpu"),
            )
            self._append(new)
            self._next += count
            self._version += count > 0
        return numbers

    def _append(self, new: Columns) -> None:
        end = self._count + len(new.numbers)
        if end > len(self._columns.numbers):
            larger = self._empty(max(end, 2 * len(self._columns.numbers)))
            for column, old in zip(larger, self._columns, strict=True):
                column[: self._count] = old[: self._count]
            self._columns = larger
        for column, rows in zip(self._columns, new, strict=True):
            column[self._count : end] = rows
        self._count = end

    def _snapshot(self) -> Columns:
        with self._lock:
            return Columns(*(column[: self._count] for column in self._columns))

    def search(self, queries: Tensor, k: int, space: int | Tensor = 0) -> Found:
        """See ``Engine.search``: compares each query to each row."""
        queries, spaces = check_search(self, queries, k, space)
        columns = self._snapshot()
        numbers = torch.full((len(queries), k), -1, device="cpu")
        keys = torch.zeros(len(queries), k, self.key_size, device="cpu")
        values = torch.zeros(len(queries), k, self.value_size, device="cpu")
        for place in torch.unique(spaces).tolist():
            chosen = spaces == place
            slots = self._nearest(queries[chosen], k, columns, columns.alive & (columns.spaces == place))
            index, there = slots.clamp_min(0), slots >= 0
            if len(columns.numbers):
                numbers[chosen] = columns.numbers[index].masked_fill(~there, -1)
                values[chosen] = columns.values[index] * there.unsqueeze(-1)
                decoded = self.codec.decode(columns.codes[index.flatten()]).view(*index.shape, -1)
                keys[chosen] = decoded * there.unsqueeze(-1)
        return Found(numbers, keys, values)

    def _nearest(self, queries: Tensor, k: int, columns: Columns, present: Tensor) -> Tensor:
        """Slots ``(Q, k)`` of the nearest rows; −1 where there are fewer."""
        best = torch.full((len(queries), k), -1, device="cpu")
        best_distance = torch.full((len(queries), k), torch.inf, device="cpu")
        for start in range(0, len(present), BLOCK):
            some = slice(start, start + BLOCK)
            keys = self.codec.decode(columns.codes[some])
            slots = nearest_slots(queries, keys, present[some], k, self.metric)
            distance = row_distance(queries, keys[slots.clamp_min(0)], self.metric)
            distance = distance.masked_fill(slots < 0, torch.inf)
            both = torch.cat([best_distance, distance], -1)
            best_distance, order = (part[:, :k] for part in both.sort(dim=-1, stable=True))
            best = torch.cat([best, torch.where(slots < 0, -1, slots + start)], -1).gather(-1, order)
        return best

    def erase(self, rows: Tensor, *, purge: bool = False) -> int:
        """See ``Engine.erase``; a purge copies the rows that are left."""
        with self._lock:
            columns = self._snapshot()
            gone = columns.alive & torch.isin(columns.numbers, rows.to(torch.int64))
            count = int(gone.sum())
            if count:
                alive = self._columns.alive.clone()
                alive[: self._count] &= ~gone
                self._columns = self._columns._replace(alive=alive)
                self._version += 1
            if purge:
                self.compact()
        return count

    def compact(self) -> None:
        """Copy the rows that are left, so that those erased take no bytes."""
        with self._lock:
            columns = self._snapshot()
            self._columns = Columns(*(column[columns.alive] for column in columns))
            self._count = len(self._columns.numbers)

    def origins(self, rows: Tensor) -> list[Origin | None]:
        """See ``Engine.origins``."""
        columns = self._snapshot()
        if not len(columns.numbers):
            return [None] * len(rows)
        slots = torch.searchsorted(columns.numbers, rows).clamp_max(len(columns.numbers) - 1)
        there = (columns.numbers[slots] == rows) & columns.alive[slots]
        origins = self._origins(columns, slots)
        return [origin if known else None for origin, known in zip(origins, there.tolist(), strict=True)]

    def _origins(self, columns: Columns, slots: Tensor) -> list[Origin]:
        names = list(self._names)
        lists = (column[slots].tolist() for column in (columns.numbers, columns.sources, columns.times))
        return [Origin(number, names[source], when) for number, source, when in zip(*lists, strict=True)]

    def scan(
        self, sources: Sequence[str] | None = None, space: int | None = 0, *, size: int = 65536
    ) -> Iterator[Rows]:
        """See ``Engine.scan``; keys are decoded."""
        check_positive(size=size)
        columns = self._snapshot()
        slots = self._chosen(columns, sources, space)
        for some in torch.split(slots, size) if len(slots) else ():
            yield Rows(
                self.codec.decode(columns.codes[some]), columns.values[some], self._origins(columns, some)
            )

    def _chosen(self, columns: Columns, sources: Sequence[str] | None, space: int | None) -> Tensor:
        chosen = columns.alive if space is None else columns.alive & (columns.spaces == space)
        if sources is not None:
            wanted = [self._names[name] for name in set(sources) if name in self._names]
            chosen = chosen & torch.isin(
                columns.sources, torch.tensor(wanted, dtype=torch.int32, device="cpu")
            )
        return chosen.nonzero().flatten()

    def sources(self, space: int | None = 0) -> dict[str, int]:
        """See ``Engine.sources``."""
        columns = self._snapshot()
        counts = columns.sources[self._chosen(columns, None, space)].bincount().tolist()
        return {name: count for name, count in zip(self._names, counts, strict=False) if count}

    def count(self, space: int | None = 0) -> int:
        """See ``Engine.count``."""
        return len(self._chosen(self._snapshot(), None, space))

    @property
    def version(self) -> int:
        """Number of changes."""
        return self._version

    def claim(self, fingerprint: str) -> None:
        """See ``Engine.claim``."""
        with self._lock:
            if self._fingerprint not in (None, fingerprint):
                raise ValueError(
                    f"this store holds keys of the model {self._fingerprint}, not of {fingerprint}"
                )
            self._fingerprint = fingerprint

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
