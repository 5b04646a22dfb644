"""What several requests want, done at once."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Handles items in a thread. Those that arrive while others are handled are handled together.

    Nothing waits for a group to fill up: an item that comes alone is handled at once. A search among many
    rows or a commit to disk costs about the same for one item as for thirty.

    Args:
        thread: Runs one group after the other.
        run: Handles a group of items, and returns a result for each. If it raises ``ValueError``, which says
            that an item is wrong, nothing may have changed: each item is then handled alone.
        fits: Whether an item can be handled together with those of a group.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(1) as thread:
        ...     squares = Batcher(thread, lambda group: [x * x for x in group], lambda group, x: True)
        ...     squares.submit(3).result()
        9
    """

    def __init__(
        self,
        thread: Executor,
        run: Callable[[list[Item]], Sequence[Result]],
        fits: Callable[[list[Item], Item], bool],
    ) -> None:
        self._thread, self._run, self._fits = thread, run, fits
        self._lock = threading.Lock()
        self._waiting: list[tuple[Item, Future[Result]]] = []

    def submit(self, item: Item) -> Future[Result]:
        """Handle an item, and return a future of its result. It cannot be cancelled."""
        done: Future[Result] = Future()
        done.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append((item, done))
        self._thread.submit(self._next)
        return done

    def _next(self) -> None:
        """Handle the items that wait, if an earlier group has not taken them yet."""
        group: list[Item] = []
        with self._lock:
            for item, _ in self._waiting:
                if group and not self._fits(group, item):
                    break
                group.append(item)
            futures = [done for _, done in self._waiting[: len(group)]]
            del self._waiting[: len(group)]
        if group:
            self._handle(group, futures)

    def _handle(self, group: list[Item], futures: list[Future[Result]]) -> None:
        try:
            results = self._run(group)
        except ValueError as error:
            if len(group) == 1:
                futures[0].set_exception(error)
                return
            for item, done in zip(group, futures, strict=True):
                self._handle([item], [done])
        except Exception as error:
            for done in futures:
                done.set_exception(error)
        else:
            for done, result in zip(futures, results, strict=True):
                done.set_result(result)
