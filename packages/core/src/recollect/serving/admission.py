"""Back-pressure: a limit on the requests that are accepted and not yet answered."""

from collections.abc import Iterator
from contextlib import contextmanager


class Busy(Exception):
    """Too many requests wait."""


class Admission:
    """Counts the requests that are accepted and not yet answered. Only the event loop's thread uses it.

    Args:
        most: How many there may be.

    Example:
        >>> admission = Admission(1)
        >>> with admission.one():
        ...     print(admission.pending)
        1
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.pending = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Accept a request for as long as the block runs.

        Raises:
            Busy: If there are as many as may be.
        """
        if self.pending >= self.most:
            raise Busy(f"{self.pending} requests wait already")
        self.pending += 1
        try:
            yield
        finally:
            self.pending -= 1
