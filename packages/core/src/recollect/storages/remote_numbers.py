"""Row numbers that increase and that no other client of a server uses."""

import random
import time

from recollect.storages.remote_table import Note, RemoteTable, note_number

RANGE = 1 << 20
"""Numbers that a client claims at once."""

RANGE_SECONDS = 60.0
"""How long a client uses a range, so that numbers of all clients follow the clock to within this time."""

PAUSE = 0.05
"""Longest pause in seconds after the first claim that met another."""


class RowNumbers:
    """Ranges of row numbers, claimed from the server.

    A claim is a note with the end of a range that starts at the highest end noted so far. A client writes its
    claim and then reads all claims. If another one ends behind its start, it withdraws and tries again after
    a random pause. Reads are strongly consistent, so of two clients that claim the same numbers the later one
    sees the other's claim: both may withdraw, but never do both go on.
    """

    def __init__(self, table: RemoteTable) -> None:
        self._table = table
        self._next = self._end = 0
        self._expires = 0.0

    def take(self, count: int) -> int:
        """Return the first of ``count`` consecutive numbers."""
        if self._next + count > self._end or time.monotonic() > self._expires:
            self._claim(max(count, RANGE))
        self._next += count
        return self._next - count

    def _claim(self, size: int) -> None:
        attempt = 0
        while not self._try_claim(size):
            time.sleep(random.uniform(0, PAUSE * 2 ** min(attempt, 5)))
            attempt += 1

    def _try_claim(self, size: int) -> bool:
        start = max(self._ends().values(), default=0)
        own = note_number()
        self._table.put([self._table.note(Note.NUMBERS, str(start + size), own)])
        ends = self._ends()
        if any(end > start for row, end in ends.items() if row != own):
            self._table.delete([own])
            return False
        self._table.delete(row for row in ends if row != own)  # the highest end is all that later claims need
        self._next, self._end = start, start + size
        self._expires = time.monotonic() + RANGE_SECONDS
        return True

    def _ends(self) -> dict[int, int]:
        return {row: int(text) for row, text in self._table.notes(Note.NUMBERS).items()}
