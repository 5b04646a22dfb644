"""An engine on a Milvus server, from Milvus Lite on one machine to a cluster."""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recollect.ops.distance import Metric, check_metric
from recollect.storages.engine import Engine, Found, Origin, Rows
from recollect.storages.engine_input import NewRows, check_new_rows, check_search
from recollect.storages.remote_client import RemoteClient
from recollect.storages.remote_numbers import RowNumbers
from recollect.storages.remote_rows import decode_vectors, encode_rows, source_hash
from recollect.storages.remote_table import MAX_TEXT, METRIC_TYPES, Note, RemoteTable, batches, note_number
from recollect.validation import check_positive

MAX_BYTES = 16 << 20
"""Bytes of one request or answer; Milvus takes up to 64 MiB."""

MAX_PAGE = 16384
"""Rows of one answer at most, by Milvus's default limits."""

EVERYTHING = "space >= 0"
"""All rows; notes are in negative spaces."""


class MilvusEngine(Engine):
    """Rows in a collection of a Milvus server.

    Reads are strongly consistent: they see all that any client has written or erased before. A write is one
    request with row numbers made by the client, so a repetition after a lost answer adds nothing. A write of
    more than 16 MiB takes several requests. If the server stays away so long that ``add`` raises, what it
    may have stored is erased when this engine reaches the server again.

    An erase with ``purge=True`` asks for a flush and a compaction and waits for it. It cannot look at the
    server's files: Milvus removes replaced files later (``dataCoord.gc``), and backups keep theirs.

    ``version`` is the number of rows ever written plus the number of rows erased.

    Args:
        uri: ``http://host:port``, or ``https://…`` for TLS.
        key_size: Width K of keys, 2 or more.
        value_size: Width V of values.
        metric: ``"l2"``, ``"cosine"`` or ``"dot"``.
        collection: Name of the collection, which is created if there is none.
        token: ``user:password`` or an API key; none by default.
        timeout: Seconds within which a request must succeed.
        retries: Number of repetitions of a request at most.
        index: Index of the keys; the server's choice by default.
        search_params: How to search that index, such as ``{"ef": 128}``.
        shards: Number of shards of a new collection, which share its writes.
        replicas: Number of copies in memory of a new collection, which share its searches.

    Raises:
        ImportError: If pymilvus is not installed.
        ValueError: If an argument is out of range, or the collection has other sizes or another metric.
        OSError: If the server does not answer (``ConnectionError``) or refuses.
    """

    def __init__(
        self,
        uri: str,
        key_size: int,
        value_size: int,
        metric: Metric = "l2",
        *,
        collection: str = "recollect",
        token: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        index: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
        shards: int = 1,
        replicas: int = 1,
    ) -> None:
        self._arguments = {name: value for name, value in locals().items() if name != "self"}
        check_positive(key_size=key_size, value_size=value_size, shards=shards, replicas=replicas)
        check_metric(metric)
        self._search_params = dict(search_params or {})
        self.key_size, self.value_size, self.metric = key_size, value_size, metric
        self._client = RemoteClient(uri, token, timeout, retries)
        manifest = {"key_size": key_size, "value_size": value_size, "metric": metric}
        index = index or {"index_type": "AUTOINDEX"}
        self._table = RemoteTable(self._client, collection, manifest, index, shards, replicas)
        self._start_process()

    def _start_process(self) -> None:
        """Start with no numbers and counts of our own; a forked process must not go on with its parent's."""
        self._process, self._lock = os.getpid(), threading.RLock()
        self._numbers = RowNumbers(self._table)
        self._written, self._written_note = 0, note_number()
        self._doubtful = range(0)  # rows that a failed write may have stored

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments; the copy connects by itself."""
        return partial(MilvusEngine, **self._arguments), ()

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Format, sizes, metric and fingerprint."""
        claims = self._table.notes(Note.CLAIM)
        return {**self._table.manifest, "fingerprint": next(iter(claims.values()), None)}

    # --- writes ---------------------------------------------------------------------------------------------

    def add(
        self, keys: Tensor, values: Tensor, sources: str | Sequence[str] = "", space: int | Tensor = 0
    ) -> Tensor:
        """Send rows in one request, or one for every 16 MiB."""
        rows = check_new_rows(self, keys, values, sources, space)
        count, longest = len(rows.keys), max((len(name.encode()) for name in set(rows.sources)), default=0)
        if longest > MAX_TEXT:
            raise ValueError(f"a source must not be longer than {MAX_TEXT} bytes")
        if not count:
            return torch.empty(0, dtype=torch.int64, device="cpu")
        self._settle()
        size = self._rows_in(MAX_BYTES, longest)
        with self._lock:
            self._settle()  # what a thread has left that wrote meanwhile
            first = self._numbers.take(count)
            self._doubtful = range(first, first + count)  # until all of them are acknowledged
            for start in range(0, count, size):
                self._put(rows.part(start, start + size), first + start)
            self._doubtful = range(0)
            return torch.arange(first, first + count, device="cpu")

    def _put(self, rows: NewRows, first: int) -> None:
        """Write rows and the number of rows that this client has written, in one request."""
        self._written += len(rows.keys)
        written = self._table.note(Note.WRITTEN, str(self._written), self._written_note)
        self._table.put([*encode_rows(rows, first, self._table.value_width), written])

    def _settle(self) -> None:
        """Erase what a failed write may have stored, unless another thread is writing."""
        if self._process != os.getpid():
            self._start_process()
        if self._doubtful and self._lock.acquire(blocking=False):
            try:
                self._table.delete(self._doubtful)
                self._doubtful = range(0)
            finally:
                self._lock.release()

    def erase(self, rows: Tensor, *, purge: bool = False) -> int:
        """Delete rows; with ``purge`` also flush and compact."""
        self._settle()
        with self._lock:
            found = [row["row"] for row in self._table.existing((n for n in rows.tolist() if n >= 0), [])]
            self._table.delete(found)
        if purge:
            self.compact()
        return len(found)

    # --- reads ----------------------------------------------------------------------------------------------

    def search(self, queries: Tensor, k: int, space: int | Tensor = 0) -> Found:
        """Search each space of the queries."""
        queries, spaces = check_search(self, queries, k, space)
        if k > MAX_PAGE:
            raise ValueError(f"a server finds at most {MAX_PAGE} rows, got k = {k}")
        self._settle()
        numbers = torch.full((len(queries), k), -1, device="cpu")
        keys, values = (
            queries.new_zeros(len(queries), k, self.key_size),
            queries.new_zeros(len(queries), k, self.value_size),
        )
        for one in sorted(set(spaces.tolist())):
            own = (spaces == one).nonzero().flatten().tolist()
            for index in batches(own, max(1, self._rows_in(MAX_BYTES) // k)):
                for query, hits in zip(index, self._search(queries[index], k, one), strict=True):
                    if hits:
                        numbers[query, : len(hits)] = torch.tensor([hit["row"] for hit in hits], device="cpu")
                        keys[query, : len(hits)] = decode_vectors(hits, "key", self.key_size)
                        values[query, : len(hits)] = decode_vectors(hits, "value", self.value_size)
        return Found(numbers, keys, values)

    def _search(self, queries: Tensor, k: int, space: int) -> list[list[dict[str, Any]]]:
        found = self._table.read(
            "search",
            data=list(queries.numpy()),
            anns_field="key",
            limit=k,
            filter=f"space == {space}",
            output_fields=["key", "value"],
            search_params={"metric_type": METRIC_TYPES[self.metric], "params": self._search_params},
        )
        return [[{"row": hit["row"], **hit["entity"]} for hit in hits] for hits in found]

    def origins(self, rows: Tensor) -> list[Origin | None]:
        """Look up rows by number."""
        self._settle()
        wanted = rows.tolist()
        found = self._table.existing((n for n in wanted if n >= 0), ["source", "time"])
        known = {row["row"]: Origin(row["row"], row["source"], row["time"]) for row in found}
        return [known.get(number) for number in wanted]

    def scan(
        self, sources: Sequence[str] | None = None, space: int | None = 0, *, size: int = 65536
    ) -> Iterator[Rows]:
        """Read rows page by page, each page as it is when it is read."""
        check_positive(size=size)
        page = min(size, MAX_PAGE, self._rows_in(MAX_BYTES))
        for rows in self._pages(sources, space, page, ["source", "time", "key", "value"]):
            origins = [Origin(row["row"], row["source"], row["time"]) for row in rows]
            keys = decode_vectors(rows, "key", self.key_size)
            yield Rows(keys, decode_vectors(rows, "value", self.value_size), origins)

    def _pages(
        self, sources: Sequence[str] | None, space: int | None, page: int, fields: Sequence[str]
    ) -> Iterator[list[dict[str, Any]]]:
        self._settle()
        where = EVERYTHING if space is None else f"space == {space}"
        if sources is not None:
            # Filters hold numbers only, so a source may hold any letters.
            where += f" and source_hash in {sorted({source_hash(source) for source in sources})}"
        last, full = -1, sources is None or len(sources) > 0
        while full:
            rows = self._table.query(f"{where} and row > {last}", ["row", *fields], limit=page)
            full = len(rows) == page
            last = rows[-1]["row"] if rows else last
            if wanted := [row for row in rows if sources is None or row["source"] in sources]:
                yield wanted

    def sources(self, space: int | None = 0) -> dict[str, int]:
        """Count the rows of each source by reading the sources of all rows."""
        counts: dict[str, int] = {}
        for rows in self._pages(None, space, MAX_PAGE, ["source"]):
            for row in rows:
                counts[row["source"]] = counts.get(row["source"], 0) + 1
        return counts

    def count(self, space: int | None = 0) -> int:
        """Count rows on the server."""
        self._settle()
        return self._table.count(EVERYTHING if space is None else f"space == {space}")

    @property
    def version(self) -> int:
        """Rows ever written plus rows erased, which grows with each change.

        Each write raises a client's count of written rows in the same request, so a client that is cut off
        leaves no change without a new version. Three requests.
        """
        self._settle()
        written = self._rows_written()
        while True:
            stored = self._table.count(EVERYTHING)
            before, written = written, self._rows_written()
            if before == written:  # no write came between, so both numbers are those of one moment
                return 2 * written - stored

    def _rows_written(self) -> int:
        return sum(int(text) for text in self._table.notes(Note.WRITTEN).values())

    # --- care -----------------------------------------------------------------------------------------------

    def claim(self, fingerprint: str) -> None:
        """Note the fingerprint; of two clients that claim at the same moment at most one succeeds."""
        claims = self._table.notes(Note.CLAIM)
        own = note_number()
        if not claims:
            self._table.put([self._table.note(Note.CLAIM, fingerprint, own)])
            claims = self._table.notes(Note.CLAIM)
        for text in claims.values():
            if text != fingerprint:
                self._table.delete([own])
                raise ValueError(f"this store holds keys of the model {text}, not of {fingerprint}")
        self._table.delete(row for row in claims if row != max(claims))  # of equal claims one stays

    def compact(self) -> None:
        """Flush, and ask the server to merge files and to drop deleted rows from them."""
        self._client.call("flush", self._table.name)
        job = self._client.call("compact", self._table.name)
        deadline = time.monotonic() + self._client.timeout
        while self._client.call("get_compaction_state", job) != "Completed":
            if time.monotonic() > deadline:
                raise TimeoutError(f"the compaction took more than {self._client.timeout:g} s and goes on")
            time.sleep(0.2)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _rows_in(self, size: int, source: int = 256) -> int:
        """Number of rows in so many bytes, at least one, with sources of so many bytes."""
        return max(1, size // (4 * (self.key_size + self._table.value_width) + 256 + source))
