"""Writes of several requests in one commit."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from recollect.lasting import Pairs

Result = TypeVar("Result")


class _Write(NamedTuple):
    pairs: Pairs
    done: Future[Tensor]


class GroupCommit:
    """Stores rows in a thread of its own. Writes that arrive while others are stored go in one commit.

    A commit to disk costs about the same for one row as for a thousand. A write is done when its commit is.

    Args:
        most: Rows in a commit at most; a larger write has a commit of its own.

    Example:
        >>> from recollect import NeighborMemory, VectorStorage
        >>> memory = NeighborMemory(2, VectorStorage(2, 1, slots=8), classes=3)
        >>> pairs = Pairs(memory, torch.tensor([True]), torch.ones(1, 2), torch.tensor([2]), "a")
        >>> writes = GroupCommit()
        >>> writes.add(pairs).result()
        tensor([0])
        >>> writes.close()
    """

    def __init__(self, most: int = 10_000) -> None:
        self.most = most
        self._thread = ThreadPoolExecutor(1, "store")
        self._lock = threading.Lock()
        self._waiting: list[_Write] = []

    def add(self, pairs: Pairs) -> Future[Tensor]:
        """Store rows, and return a future of their numbers ``(W,)``. It cannot be cancelled."""
        done: Future[Tensor] = Future()
        done.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append(_Write(pairs, done))
        self._thread.submit(self._commit)
        return done

    def submit(self, action: Callable[[], Result]) -> Future[Result]:
        """Run something else between two commits."""
        return self._thread.submit(action)

    def close(self) -> None:
        """Store what is waiting, and end the thread."""
        self._thread.shutdown(wait=True)

    def _commit(self) -> None:
        """Store the writes that wait, if an earlier commit has not stored them yet."""
        with self._lock:
            count, rows = 0, 0
            for write in self._waiting:
                rows += len(write.pairs.keys)
                alike = write.pairs.targets.dim() == self._waiting[0].pairs.targets.dim()
                if count and (rows > self.most or not alike):
                    break
                count += 1
            group, self._waiting = self._waiting[:count], self._waiting[count:]
        if group:
            _store(group)


def _store(group: list[_Write]) -> None:
    try:
        rows = _stored([write.pairs for write in group])
    except ValueError as error:  # a write is wrong: nothing is stored yet
        if len(group) == 1:
            group[0].done.set_exception(error)
            return
        for write in group:
            _store([write])
    except Exception as error:
        for write in group:
            write.done.set_exception(error)
    else:
        for write, numbers in zip(group, rows, strict=True):
            write.done.set_result(numbers)


def _stored(parts: list[Pairs]) -> tuple[Tensor, ...]:
    sources = [name for part in parts for name in _sources(part)]
    keys, targets = torch.cat([part.keys for part in parts]), torch.cat([part.targets for part in parts])
    rows = parts[0].memory.remember(keys, targets, sources)
    return torch.split(rows, [len(part.keys) for part in parts])


def _sources(pairs: Pairs) -> list[str]:
    return [pairs.sources] * len(pairs.keys) if isinstance(pairs.sources, str) else pairs.sources
