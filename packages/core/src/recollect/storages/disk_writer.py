"""All changes of a table on disk, each under the lock of its folder."""

import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recollect.storages.disk_directory import Directory
from recollect.storages.disk_folder import Folder, storing
from recollect.storages.disk_upkeep import (
    CLEAN_EVERY,
    MERGE_EVERY,
    due,
    mergeable,
    remaining,
    with_deletions,
    worth_searching,
)
from recollect.storages.engine_input import NewRows
from recollect.storages.lance_table import Array, LanceTable, Snapshot

COARSE = 0.01
"""Seconds by which the clock of files may be behind."""

KEPT = 60.0
"""Seconds for which old versions stay readable, except after a purge."""

COMPARED = 65536
"""Rows whose keys are read at once."""


class Writer:
    """Adds and erases rows, and keeps the table small.

    Args:
        folder: The folder with its lock.
        table: The table.
        directory: Which rows it holds.
    """

    def __init__(self, folder: Folder, table: LanceTable, directory: Directory) -> None:
        self._folder, self._table, self._directory = folder, table, directory

    def add(self, rows: NewRows) -> Array:
        """Add rows in one commit, and return their numbers.

        Raises:
            OSError: If the rows cannot be stored: none of them is.
        """
        with self._folder.locked():
            with storing(self._folder.path):
                start = time.time()
                first = self._folder.reserve(len(rows.keys))
                numbers = np.arange(first, first + len(rows.keys))
                self._table.add(numbers, rows, start)
                self._folder.sync(start - COARSE)
            self._upkeep()
        return numbers

    def erase(self, rows: Array, *, purge: bool) -> int:
        """Erase rows, and return how many there were.

        Raises:
            OSError: If they cannot be erased, or their bytes are still there after a purge.
        """
        with self._folder.locked():
            gone = self._directory.read(lambda snapshot: self._directory.held(rows))
            texts = self._directory.read(lambda snapshot: self._texts(snapshot, gone)) if purge else set()
            if len(gone):
                with storing(self._folder.path):
                    start = time.time()
                    self._table.delete(gone)
                    self._folder.sync(start - COARSE)
            if purge:
                self._purge(texts)
            elif len(gone):
                self._upkeep()
        return len(gone)

    # --- upkeep ---------------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Merge small files, and remove versions that are older than a minute.

        Raises:
            OSError: If the disk is full or read-only; no row is lost.
        """
        with self._folder.locked(), storing(self._folder.path):
            self._table.clean(KEPT)

    def _upkeep(self) -> None:
        """Merge and clean on schedule. The number of the version counts the commits of all processes.

        What the caller has stored or erased stays so, whatever fails here. It is tried again later.
        """
        version = self._table.version
        try:
            if due(version - 1, version, CLEAN_EVERY):
                self._table.clean(KEPT)
            elif due(version - 1, version, MERGE_EVERY):
                places = self._directory.read(lambda snapshot: self._directory.places())
                if fragments := mergeable(places):
                    self._table.rewrite(fragments)
        except (OSError, RuntimeError) as error:
            warnings.warn(f"{self._folder.path}: small files could not be merged: {error}", stacklevel=4)

    # --- purge ----------------------------------------------------------------------------------------------

    def _texts(self, snapshot: Snapshot, rows: Array) -> set[bytes]:
        keys, sources = self._directory.fetch(snapshot, rows, ("key", "source"))
        return worth_searching(keys, sources.tolist())

    def _purge(self, texts: set[bytes]) -> None:
        """Copy what is left of the files that hold erased rows, remove them, and search for the texts."""
        path = self._folder.path
        try:
            if fragments := with_deletions(self._folder.table):
                self._table.rewrite(fragments)
            self._table.clean(0)
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"{path}: rows were erased, but their bytes are still in the files, which could not be "
                f"copied without them: {error}"
            ) from error
        if left := with_deletions(self._folder.table):
            raise OSError(f"{path}: erased rows are still in the files of the fragments {left}")
        hits = list(remaining(path, self._dead_sources(texts)))
        if hits:
            alive = self._directory.read(lambda snapshot: self._alive(snapshot, {text for _, text in hits}))
            self._check_hits([hit for hit in hits if hit[1] not in alive])

    def _dead_sources(self, texts: set[bytes]) -> set[bytes]:
        """Texts without those that are a part of the name of a source that still has rows."""
        names = self._directory.read(lambda snapshot: list(snapshot.counts(None, "source")))
        joined = "\n".join(names).encode()
        return {text for text in texts if text not in joined}

    def _alive(self, snapshot: Snapshot, texts: set[bytes]) -> set[bytes]:
        """Those of some texts that are keys of rows that were not erased."""
        return {key for key in self._keys(snapshot) if key in texts}

    def _keys(self, snapshot: Snapshot) -> Iterator[bytes]:
        rows = self._directory.of_space(None)
        for start in range(0, len(rows), COMPARED):
            (keys,) = self._directory.fetch(snapshot, rows[start : start + COMPARED], ("key",))
            yield from (key.tobytes() for key in keys)

    def _check_hits(self, hits: list[tuple[Path, bytes]]) -> None:
        if hits:
            files = ", ".join(sorted({path.name for path, _ in hits}))
            raise OSError(
                f"{self._folder.path}: bytes of {len({text for _, text in hits})} erased keys or sources are "
                f"still in {files}"
            )
