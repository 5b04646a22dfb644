"""The folder of a table on disk: its manifest, its lock, the counter of its rows, and its errors."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

FORMAT = 1
"""Layout of the folder; a later version that changes it raises this number."""

POLL = 0.002
"""Seconds between two attempts to take the lock: a commit takes about as long."""

ROWS = re.compile(r"^\d+$")


class Folder:
    """What stands beside the table: ``recollect.json``, ``rows.next`` and ``rows.lock``.

    Every change of the store happens under the lock, which the system frees when its holder dies.

    Args:
        path: The folder.
        timeout: Seconds to wait for the lock.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self.table = path / "rows.lance"
        self._manifest = path / "recollect.json"
        self._next = path / "rows.next"
        self._lock = FileLock(path / "rows.lock", timeout=timeout)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of all writers.

        Raises:
            OSError: If another process holds it for too long, or the folder cannot be written to.
        """
        try:
            self._lock.acquire(poll_interval=POLL)
        except Timeout as error:
            raise TimeoutError(
                f"{self.path}: another process has held the lock for {self._lock.timeout:g} s"
            ) from error
        except OSError as error:
            raise storing_error(self.path, error) from error
        try:
            yield
        finally:
            self._lock.release()

    def manifest(self) -> dict[str, Any] | None:
        """Return the manifest; ``None`` if there is no store yet.

        Raises:
            ValueError: If the folder holds something else, or a store of a later format.
        """
        try:
            manifest = json.loads(self._manifest.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            self._check_free()
            return None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{self._manifest} is no manifest of a store: {error}") from error
        if manifest.get("format") != FORMAT:
            raise ValueError(f"{self.path} has format {manifest.get('format')}, this version reads {FORMAT}")
        return dict(manifest)

    def _check_free(self) -> None:
        own = {"recollect.json.new", "rows.next", "rows.next.new", "rows.lock", "rows.lance"}
        if self.path.exists() and (not self.path.is_dir() or {p.name for p in self.path.iterdir()} - own):
            raise ValueError(f"{self.path} exists and is no store: give a new or empty folder")

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest, whole or not at all."""
        _replace(self._manifest, json.dumps({"format": FORMAT, **manifest}, indent=1) + "\n")

    def reserve(self, count: int) -> int:
        """Reserve ``count`` row numbers for good, under the lock, and return the first.

        A writer that dies leaves a gap: no number is given out twice, and later rows have higher ones.

        Raises:
            ValueError: If the counter is damaged.
        """
        text = self._next.read_text(encoding="ascii").strip()
        if not ROWS.match(text):
            raise ValueError(f"{self._next} must hold the next row number, got {text[:40]!r}")
        _replace(self._next, f"{int(text) + count}\n")
        return int(text)

    def start_counter(self) -> None:
        """Begin to number rows, at zero."""
        _replace(self._next, "0\n")

    def sync(self, since: float) -> None:
        """Wait until the rows, deletions and versions that are newer than ``since`` are on the disk."""
        for folder in ("data", "_deletions", "_versions"):
            part = self.table / folder
            if part.is_dir() and part.stat().st_mtime >= since:
                with os.scandir(part) as files:
                    new = [file.path for file in files if file.stat().st_mtime >= since]
                for path in (*(path for path in new if not path.endswith(".json")), str(part)):
                    _sync(path)


def _replace(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _sync(path: str) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn the errors of a failed commit into one ``OSError`` that names the store."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise storing_error(path, error) from error


def storing_error(path: Path, error: BaseException) -> OSError:
    """Return an ``OSError`` with the number of the system's error, if there is one."""
    if isinstance(error, TimeoutError):
        return error
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(match[1])
    reason = os.strerror(number) if number else str(error).splitlines()[0]
    return OSError(number or 0, f"nothing was changed in the store, {reason}", str(path))
