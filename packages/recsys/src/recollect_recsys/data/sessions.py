"""Sessions: the recent items of a user, what came next, and the items of long ago."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect_recsys.data.histories import Histories
from recollect_recsys.types import SessionBatch


class Windows(NamedTuple):
    """Which items of whom are to be foretold: those from ``first`` up to ``end``.

    Attributes:
        user: ``(n,)`` int64.
        first: ``(n,)`` int64, place in the user's history of the first item to be foretold.
        end: ``(n,)`` int64, place after the last one; ``end − first`` steps.
    """

    user: Tensor
    first: Tensor
    end: Tensor


def last_windows(user: Tensor, end: Tensor, window: int) -> Windows:
    """One window a user, of at most ``window`` steps; its last target is the one before ``end``."""
    return Windows(user, (end - window).clamp_min(0), end)


def all_windows(user: Tensor, end: Tensor, window: int) -> Windows:
    """Windows that foretell each of the first ``end`` items of the users once; the last ones are full.

    Example:
        >>> all_windows(torch.tensor([7]), torch.tensor([5]), window=3)
        Windows(user=tensor([7, 7]), first=tensor([2, 0]), end=tensor([5, 2]))
    """
    count = (end + window - 1) // window
    which = torch.arange(len(user)).repeat_interleave(count)
    turn = torch.arange(len(which)) - (count.cumsum(0) - count)[which]
    ends = end[which] - turn * window
    return Windows(user[which], (ends - window).clamp_min(0), ends)


class SessionDataset(Dataset[SessionBatch]):
    """Windows of histories, cut in a few gathers for a whole batch.

    Args:
        histories: Whose items.
        windows: Which of them.
        past: Number P of items before a session that are given, at most.
        seen: Whether ``seen`` is filled in.

    Example:
        >>> lengths, items = torch.tensor([4]), torch.tensor([5, 6, 7, 8])
        >>> one = Histories(["a"], torch.tensor([0]), lengths, items)
        >>> windows = last_windows(torch.tensor([0]), lengths, window=2)
        >>> batch = SessionDataset(one, windows, past=3, seen=True).cut(torch.tensor([0]))
        >>> batch.past.tolist(), batch.session.tolist(), batch.target.tolist(), batch.seen.tolist()
        ([[5]], [[6, 7]], [[7, 8]], [[5, 6, 7]])
    """

    def __init__(self, histories: Histories, windows: Windows, past: int, seen: bool = False) -> None:
        self.histories = histories
        self.windows = windows
        self.past = past
        self.seen = seen

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.windows.user)

    def __getitem__(self, index: int) -> SessionBatch:
        """One window, as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> SessionBatch:
        """The windows of a batch."""
        return self.cut(torch.tensor(indices, dtype=torch.int64))

    def cut(self, rows: Tensor) -> SessionBatch:
        """The windows numbered ``rows`` ``(B,)``."""
        user, first, end = (part[rows] for part in self.windows)
        length = end - first
        before = (first - 1).clamp(0, self.past)
        return SessionBatch(
            session=self._items(user, first - 1, length),
            target=self._items(user, first, length),
            length=length,
            past=self._items(user, first - 1 - before, before),
            seen=self._items(user, torch.zeros_like(end), (end - 1) * int(self.seen)),
            user=user,
        )

    def _items(self, user: Tensor, first: Tensor, count: Tensor) -> Tensor:
        """``count`` items of each user from place ``first`` on; 0 for places that there are not."""
        steps = torch.arange(int(count.max()) if len(count) else 0)
        places = first.unsqueeze(1) + steps
        there = (
            (steps < count.unsqueeze(1))
            & (places >= 0)
            & (places < self.histories.lengths[user].unsqueeze(1))
        )
        if len(self.histories.items) == 0:
            return torch.zeros_like(places)
        flat = (self.histories.starts[user].unsqueeze(1) + places).clamp(0, len(self.histories.items) - 1)
        return torch.where(there, self.histories.items[flat], 0)
