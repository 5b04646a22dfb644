"""An engine on disk: a LanceDB table that several processes share (extra ``disk``)."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from recollect.ops.distance import Metric, check_metric
from recollect.storages.disk_directory import Directory
from recollect.storages.disk_folder import Folder, storing
from recollect.storages.disk_search import Searcher
from recollect.storages.disk_writer import Writer
from recollect.storages.engine import Engine, Found, Origin, Rows
from recollect.storages.engine_input import check_new_rows, check_search
from recollect.storages.lance_table import Array, LanceTable, Snapshot, text_filter
from recollect.validation import check_positive

T = TypeVar("T")


class LanceEngine(Engine):
    """Rows in a LanceDB table in a folder, with a manifest, a counter and a lock beside it.

    Every change is one commit under the lock of the folder, so writers of any number of processes take
    turns, rows are numbered in the order of their commits, and nothing is half-written: a process that is
    killed frees the lock, and what it had not committed does not exist. ``add`` and ``erase`` return when
    their files are on the disk.

    Start processes that share an engine with ``spawn``; LanceDB's threads do not survive a fork. Each opens
    the store for itself, and so does the copy of an engine that is pickled.

    Args:
        path: The folder, made if it does not exist.
        key_size: Width K of keys.
        value_size: Width V of values.
        metric: ``"l2"``, ``"cosine"`` or ``"dot"``.
        exact: Rows of a space up to which a search is exact and holds them in memory. A larger space is
            searched through an index, of about K + 8 bytes a row in memory.
        timeout: Seconds to wait for another writer.

    Raises:
        ValueError: If an argument is out of range, the folder holds something else, or a store of other
            sizes or another metric.
        OSError: If the store cannot be made or read.
    """

    def __init__(
        self,
        path: str | Path,
        key_size: int,
        value_size: int,
        *,
        metric: Metric = "l2",
        exact: int = 100_000,
        timeout: float = 60.0,
    ) -> None:
        check_positive(key_size=key_size, value_size=value_size, exact=exact)
        check_metric(metric)
        self.key_size, self.value_size, self.metric = key_size, value_size, metric
        self._arguments = (str(path), key_size, value_size, metric, exact, timeout)
        self._exact = exact
        self._folder = Folder(Path(path), timeout)
        self._open()

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the arguments: a copy in another process opens the store for itself."""
        return self._arguments

    def __setstate__(self, arguments: tuple[Any, ...]) -> None:
        """Open the store."""
        path, key_size, value_size, metric, exact, timeout = arguments
        options = {"metric": metric, "exact": exact, "timeout": timeout}
        self.__init__(path, key_size, value_size, **options)  # type: ignore[misc]

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    # --- opening --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        manifest = self._folder.manifest()
        if manifest is None:
            with storing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
            with self._folder.locked():
                manifest = self._folder.manifest()  # another process may have been faster
                if manifest is None:
                    manifest = self._create()
        self._check_same(manifest)
        self._table = LanceTable(self.path, self.key_size, self.value_size)
        self._table.open()
        self._directory = Directory(self._table)
        self._writer = Writer(self._folder, self._table, self._directory)
        self._searcher = Searcher(self._directory, self.key_size, self.value_size, self.metric, self._exact)
        self._process = os.getpid()
        self._closed = False

    def _create(self) -> dict[str, Any]:
        """Make an empty store. The manifest comes last: without it there is none."""
        sizes = {"key_size": self.key_size, "value_size": self.value_size, "metric": self.metric}
        manifest = {**sizes, "fingerprint": None}
        with storing(self.path):
            LanceTable(self.path, self.key_size, self.value_size).create()
            self._folder.start_counter()
            self._folder.write_manifest(manifest)
        return manifest

    def _check_same(self, manifest: Mapping[str, Any]) -> None:
        for name in ("key_size", "value_size", "metric"):
            if manifest.get(name) != getattr(self, name):
                raise ValueError(
                    f"{self.path} is a store with {name} {manifest.get(name)!r}, not {getattr(self, name)!r}"
                )

    def _check_usable(self) -> None:
        if self._closed:
            raise ValueError(f"{self.path}: this engine has been closed")
        if os.getpid() != self._process:
            raise RuntimeError(
                f"{self.path} was opened in the process this one was forked from: start processes with "
                "multiprocessing's 'spawn', or open the store in each of them"
            )

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Sizes, metric, format and fingerprint of the model that made the keys, read from the folder."""
        manifest = self._folder.manifest()
        if manifest is None:
            raise FileNotFoundError(f"{self.path}: the store has been removed")
        return manifest

    def claim(self, fingerprint: str) -> None:
        """Record the fingerprint of the model whose keys are stored, if none is recorded yet.

        Raises:
            ValueError: If the store holds keys of a model with another fingerprint.
            OSError: If it cannot be recorded.
        """
        recorded = self.manifest["fingerprint"]
        if recorded is None:
            with self._folder.locked(), storing(self.path):
                manifest = dict(self.manifest)
                recorded = manifest["fingerprint"] = manifest["fingerprint"] or fingerprint
                self._folder.write_manifest(manifest)
        if recorded != fingerprint:
            raise ValueError(f"{self.path} holds keys of the model {recorded}, not of {fingerprint}")

    # --- writing --------------------------------------------------------------------------------------------

    def add(
        self, keys: Tensor, values: Tensor, sources: str | Sequence[str] = "", space: int | Tensor = 0
    ) -> Tensor:
        """Add rows in one commit, and return their numbers ``(W,)`` int64, which increase.

        A commit takes some milliseconds, whatever it holds: write many rows at once.

        Raises:
            ValueError: If a shape does not fit or a number is not finite.
            OSError: If the rows cannot be stored: none of them is.
        """
        self._check_usable()
        rows = check_new_rows(self, keys, values, sources, space)
        if not len(rows.keys):
            return torch.empty(0, dtype=torch.int64, device="cpu")
        return torch.from_numpy(self._writer.add(rows))

    def erase(self, rows: Tensor, *, purge: bool = False) -> int:
        """Erase rows by number, at once and for every process, and return how many there were.

        An erased row is found no more, but its bytes stay in the files until these are copied without it. A
        purge does that with all files that hold rows erased so far, removes all old versions, and then
        searches every file of the folder for the bytes of the keys and sources of these rows. They are stored
        uncompressed, so a search that finds none proves that no file holds them; it does not tell what the
        file system keeps of removed files, nor of backups. Left out of the search are keys with less than 4
        different numbers and sources of less than 8 bytes, which may occur by chance, keys that other rows
        have, too, and sources that are a part of another one that still has rows.

        Args:
            rows: ``(E,)`` int64; numbers without a row are ignored.
            purge: Also remove their bytes from the files, and check that. Takes as long as to copy the files.

        Raises:
            OSError: If the rows cannot be erased, or their bytes are still there after a purge.
        """
        self._check_usable()
        return self._writer.erase(rows.detach().cpu().numpy(), purge=purge)

    # --- reading --------------------------------------------------------------------------------------------

    def _read(self, function: Callable[[Snapshot], T]) -> T:
        """Call a function with the last version; the directory is that of this version meanwhile."""
        self._check_usable()
        return self._directory.read(function)

    def search(self, queries: Tensor, k: int, space: int | Tensor = 0) -> Found:
        """Return the k rows nearest to each query ``(Q, K)``, in one space or ``(Q,)`` int64 spaces."""
        queries, spaces = check_search(self, queries, k, space)
        self._check_usable()
        return self._searcher.search(queries, k, spaces)

    def index_progress(self, space: int = 0) -> float:
        """Share of the rows of a space that are in its index; 1 when that is built, or none is needed.

        A space with more than ``exact`` rows is given an index by its first search, or by this method. It is
        built in a thread; until then each search compares all rows on disk.
        """
        self._check_usable()
        return self._searcher.progress(space)

    def origins(self, rows: Tensor) -> list[Origin | None]:
        """Return the origin of each of the rows ``(n,)``; ``None`` where there is none."""

        def read(snapshot: Snapshot) -> dict[int, Origin]:
            held = self._directory.held(rows.numpy())
            columns = self._directory.fetch(snapshot, held, ("source", "time"))
            return {row: Origin(row, *rest) for row, *rest in zip(held.tolist(), *columns, strict=True)}

        found = self._read(read)
        return [found.get(row) for row in rows.tolist()]

    def scan(
        self, sources: Sequence[str] | None = None, space: int | None = 0, *, size: int = 65536
    ) -> Iterator[Rows]:
        """Read rows in the order of their numbers, ``size`` at a time.

        It reads the rows that are stored when it begins; those that are erased meanwhile are left out.
        """
        check_positive(size=size)
        wanted = self._read(lambda snapshot: self._numbers(snapshot, sources, space))
        for start in range(0, len(wanted), size):
            page = wanted[start : start + size]
            rows = self._read(partial(self._rows, page))
            if rows.origins:
                yield rows

    def _numbers(self, snapshot: Snapshot, sources: Sequence[str] | None, space: int | None) -> Array:
        """Numbers of the rows of a space and of sources, in order."""
        own = self._directory.of_space(space)
        if sources is None:
            return own
        return np.intersect1d(snapshot.where(text_filter("source", sources), "row")[0], own)

    def _rows(self, page: Array, snapshot: Snapshot) -> Rows:
        held = self._directory.held(page)
        keys, values, *origins = self._directory.fetch(snapshot, held, ("key", "value", "source", "time"))
        named = [Origin(row, *rest) for row, *rest in zip(held.tolist(), *origins, strict=True)]
        return Rows(torch.from_numpy(keys), torch.from_numpy(values), named)

    def sources(self, space: int | None = 0) -> dict[str, int]:
        """Return the number of rows of each source."""
        condition = None if space is None else f"space = {space}"
        return self._read(lambda snapshot: snapshot.counts(condition, "source"))

    def count(self, space: int | None = 0) -> int:
        """Return the number of rows."""
        return int(self._read(lambda snapshot: len(self._directory.of_space(space))))

    @property
    def version(self) -> int:
        """Number of the last commit of any process."""
        self._check_usable()
        return self._table.version

    # --- upkeep ---------------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Merge small files, and remove old versions, so that searches and writes stay fast.

        Writers do so on schedule, each 16th and 512th commit. Do it once after many rows were written, for
        searches of large spaces are then fastest. Versions of the last minute stay for their readers.

        Raises:
            OSError: If the disk is full or cannot be written to; no row is lost.
        """
        self._check_usable()
        self._writer.compact()

    def close(self) -> None:
        """Release files and memory. Nothing that was written is lost; a closed engine raises when used."""
        self._closed = True
        self._searcher.close()
        self._directory = Directory(self._table)
        self._table.close()
