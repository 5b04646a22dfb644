"""Sessions: recent items of a user, their next items, and older items."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect_recsys.data.histories import Histories
from recollect_recsys.types import SessionBatch


class Windows(NamedTuple):
    """Target items of users: those from ``first`` up to ``end``.

    Attributes:
        user: ``(n,)`` int64.
        first: ``(n,)`` int64, position of the first target in the user's history.
        end: ``(n,)`` int64, position after the last one; ``end − first`` steps.
    """

    user: Tensor
    first: Tensor
    end: Tensor


def last_windows(user: Tensor, end: Tensor, window: int) -> Windows:
    """Return one window per user of at most ``window`` steps; its last target precedes ``end``."""
    return Windows(user, (end - window).clamp_min(0), end)


def all_windows(user: Tensor, end: Tensor, window: int) -> Windows:
    """Return windows that cover each of the first ``end`` items once as target; the last ones are full.

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
    """Windows of histories, gathered batch by batch.

    Args:
        histories: Histories of the users.
        windows: Windows into the histories.
        past: Largest number P of items before a session.
        seen: Whether to fill ``seen``.

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
        """Return ``count`` items of each user from position ``first`` on, padded with 0."""
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
