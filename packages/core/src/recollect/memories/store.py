"""The owner of a lasting memory's rows: changed in two methods, under a lock, and read as one snapshot."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recollect.state import State
from recollect.storages.base import Storage
from recollect.storages.engine import Origin, Rows


class Store(nn.Module, ABC):
    """Rows (key, value) with their sources, kept in a storage from call to call.

    Working memories take a state and return one. A lasting memory owns its state, in a ``Store``: ``add`` and
    ``erase`` alone change it, under a lock, and ``snapshot`` returns a state that no later change touches.

    Args:
        storage: Where the rows are.
    """

    storage: Storage

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        object.__setattr__(self, "storage", storage)  # a submodule of the memory, once
        self._lock = threading.RLock()

    @abstractmethod
    def snapshot(self) -> State:
        """Return the state to read: that of the moment, which stays as it is."""

    @abstractmethod
    def add(self, key: Tensor, value: Tensor, sources: str | Sequence[str] = "") -> Tensor:
        """Store rows, and return their numbers ``(W,)`` int64; −1 for a row that was not stored.

        Args:
            key: ``(W, K)``.
            value: ``(W, V)``.
            sources: One source for all rows, or one for each.
        """

    def load(self, rows: Rows) -> Tensor:
        """Add rows of another store, with their sources; where the storage can, with their times."""
        return self.add(rows.keys, rows.values, [origin.source for origin in rows.origins])

    @abstractmethod
    def erase(self, rows: Tensor, *, purge: bool = False) -> int:
        """Erase rows by number, and return how many there were.

        Args:
            rows: ``(E,)`` int64.
            purge: Also remove their bytes from where they are kept.
        """

    def forget(
        self,
        sources: Sequence[str] | None = None,
        where: Callable[[Origin], bool] | None = None,
        *,
        purge: bool = False,
    ) -> int:
        """Erase rows by their origin, and return how many there were.

        Args:
            sources: Rows of these sources; all by default.
            where: Rows for which this function of their origin is true; all by default.
            purge: As in ``erase``.
        """
        with self._lock:  # the number of a row in memory may be given to another row
            rows = [
                origin.row
                for part in self.scan(sources)
                for origin in part.origins
                if where is None or where(origin)
            ]
            return self.erase(torch.tensor(rows, dtype=torch.int64, device="cpu"), purge=purge) if rows else 0

    @abstractmethod
    def origins(self, rows: Tensor) -> list[Origin | None]:
        """Return the origin of each of the rows ``(n,)``; ``None`` where there is none."""

    @abstractmethod
    def scan(self, sources: Sequence[str] | None = None) -> Iterator[Rows]:
        """Read all rows, or those of some sources, a part at a time."""

    @abstractmethod
    def sources(self) -> dict[str, int]:
        """Return the number of rows of each source."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    @abstractmethod
    def fingerprint(self) -> str | None:
        """Fingerprint of the model whose keys are stored; ``None`` if none is recorded."""

    @abstractmethod
    def claim(self, fingerprint: str) -> None:
        """Record the fingerprint of the model whose keys are stored, if none is recorded yet.

        Raises:
            ValueError: If the store holds keys of another model.
        """

    def __getstate__(self) -> dict[str, Any]:
        """Return what to copy or pickle; a lock belongs to its process."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, with a lock of its own."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._lock = threading.RLock()

    def __bool__(self) -> bool:
        """A store is true even if it is empty."""
        return True
