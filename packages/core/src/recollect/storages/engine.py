"""What a storage whose rows live outside the process asks of its engine, a database on disk or a server."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from torch import Tensor

from recollect.ops.distance import Metric


class Origin(NamedTuple):
    """Where a row comes from.

    Attributes:
        row: The row's number, unique in its store and never used again.
        source: Name of the document, ticket, user, … that the row was made from.
        time: When it was written, in seconds since 1970 (UTC).
    """

    row: int
    source: str
    time: float


class Rows(NamedTuple):
    """Rows of a store, read in bulk.

    Attributes:
        keys: ``(n, K)`` float32.
        values: ``(n, V)`` float32.
        origins: Number, source and time of each row.
    """

    keys: Tensor
    values: Tensor
    origins: list[Origin]


class Found(NamedTuple):
    """The rows nearest to each query, nearest first.

    Attributes:
        rows: ``(Q, k)`` int64, numbers of the rows; −1 where fewer than k are stored.
        keys: ``(Q, k, K)`` float32, zero where there is no row.
        values: ``(Q, k, V)`` float32, zero where there is no row.
    """

    rows: Tensor
    keys: Tensor
    values: Tensor


class Engine(ABC):
    """A table of rows (key, value, source, time, space) that outlives the process and is shared by several.

    A space is a part of the table that searches of other spaces do not see, such as that of one user. Each
    method may be called from several threads. A write is on disk, or acknowledged by the server, when ``add``
    returns, whole or not at all. Each search reads one snapshot, which holds all that any process has written
    and nothing that any has erased before it began.

    Attributes:
        key_size: Width K of keys.
        value_size: Width V of values.
        metric: Distance by which a search ranks rows.
    """

    key_size: int
    value_size: int
    metric: Metric

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the engine itself: a copy of a model uses the same store."""
        return self

    @property
    @abstractmethod
    def manifest(self) -> Mapping[str, Any]:
        """Sizes, metric, format and fingerprint of the model that made the keys, as they are stored."""

    @abstractmethod
    def add(
        self, keys: Tensor, values: Tensor, sources: str | Sequence[str] = "", space: int | Tensor = 0
    ) -> Tensor:
        """Add rows in one commit, and return their numbers ``(W,)`` int64, which increase.

        Args:
            keys: ``(W, K)``, finite.
            values: ``(W, V)``, finite.
            sources: One source for all rows, or one for each.
            space: One space for all rows, or ``(W,)`` int64.

        Raises:
            ValueError: If a shape does not fit.
            OSError: If the rows cannot be stored: none of them is.
        """

    @abstractmethod
    def search(self, queries: Tensor, k: int, space: int | Tensor = 0) -> Found:
        """Return the k rows nearest to each query ``(Q, K)``, in one space or ``(Q,)`` int64 spaces."""

    @abstractmethod
    def erase(self, rows: Tensor, *, purge: bool = False) -> int:
        """Erase rows by number, at once and for every process, and return how many there were.

        Args:
            rows: ``(E,)`` int64; numbers without a row are ignored.
            purge: Also remove their bytes from the files, and check that.

        Raises:
            OSError: If the bytes are still there after a purge.
        """

    @abstractmethod
    def origins(self, rows: Tensor) -> list[Origin | None]:
        """Return the origin of each of the rows ``(n,)``; ``None`` where there is none."""

    @abstractmethod
    def scan(
        self, sources: Sequence[str] | None = None, space: int | None = 0, *, size: int = 65536
    ) -> Iterator[Rows]:
        """Read rows in the order of their numbers, ``size`` at a time.

        Args:
            sources: Rows of these sources only.
            space: Rows of this space only; ``None`` for all spaces.
            size: Rows at a time.
        """

    @abstractmethod
    def sources(self, space: int | None = 0) -> dict[str, int]:
        """Return the number of rows of each source."""

    @abstractmethod
    def count(self, space: int | None = 0) -> int:
        """Return the number of rows."""

    @property
    @abstractmethod
    def version(self) -> int:
        """A number that differs after each change by any process."""

    @abstractmethod
    def claim(self, fingerprint: str) -> None:
        """Record the fingerprint of the model whose keys are stored, if none is recorded yet.

        Raises:
            ValueError: If the store holds keys of a model with another fingerprint.
        """

    @abstractmethod
    def compact(self) -> None:
        """Merge small files and old versions, so that searches and writes stay fast."""

    @abstractmethod
    def close(self) -> None:
        """Release files, threads and connections. Nothing that was written is lost."""
