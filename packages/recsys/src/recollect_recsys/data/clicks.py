"""Clicks as rows of items, one per user, and random holdout per user."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect_recsys.data.events import Events
from recollect_recsys.types import ClickBatch


class Clicks(NamedTuple):
    """Rows of items, one per user; items are numbered from 1 and sorted within a row.

    Attributes:
        starts: ``(U,)`` int64, start of each user's items.
        lengths: ``(U,)`` int64, number of each user's items.
        items: ``(n,)`` int64.
    """

    starts: Tensor
    lengths: Tensor
    items: Tensor

    @classmethod
    def from_pairs(cls, pairs: Tensor, users: int) -> "Clicks":
        """Build rows from sorted ``pairs`` ``(2, n)`` of user, from 0 on, and item."""
        lengths = torch.bincount(pairs[0], minlength=users)
        return cls(lengths.cumsum(0) - lengths, lengths, pairs[1])

    def padded(self, users: Tensor) -> Tensor:
        """Return the rows of users ``(B,)``, padded with 0: ``(B, S)``.

        Example:
            >>> clicks = Clicks.from_pairs(torch.tensor([[0, 0, 2], [3, 5, 4]]), users=3)
            >>> clicks.padded(torch.tensor([2, 0])).tolist()
            [[4, 0], [3, 5]]
        """
        lengths = self.lengths[users].unsqueeze(1)
        steps = torch.arange(int(lengths.max()) if lengths.numel() else 0)
        places = (self.starts[users].unsqueeze(1) + steps).clamp_max(max(len(self.items) - 1, 0))
        if len(self.items) == 0:
            return torch.zeros_like(places)
        return torch.where(steps < lengths, self.items[places], 0)


class ClickDataset(Dataset[ClickBatch]):
    """Users with known and target items.

    Args:
        places: ``(n,)`` int64, rows of ``seen`` and ``target``.
        numbers: ``(U,)`` int64, number of each row's user in the model.
        seen: Known items.
        target: Target items; none by default.
    """

    def __init__(self, places: Tensor, numbers: Tensor, seen: Clicks, target: Clicks | None = None) -> None:
        self.places = places
        self.numbers = numbers
        self.seen = seen
        self.target = target

    def __len__(self) -> int:
        """Number of users."""
        return len(self.places)

    def __getitem__(self, index: int) -> ClickBatch:
        """One user, as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> ClickBatch:
        """The users of a batch."""
        places = self.places[torch.tensor(indices, dtype=torch.int64)]
        target = places.new_zeros(len(places), 0) if self.target is None else self.target.padded(places)
        return ClickBatch(self.numbers[places], self.seen.padded(places), target, places)


def index_events(events: Events, users: dict[str, int], items: dict[str, int]) -> Tensor:
    """Return sorted unique pairs ``(2, n)`` of user and item numbers, without unknown items."""
    user = torch.tensor([users[name] for name in events.users], dtype=torch.int64)
    item = torch.tensor([items.get(name, 0) for name in events.items], dtype=torch.int64)
    return unique_pairs(torch.stack([user, item])[:, item > 0])


def unique_pairs(pairs: Tensor) -> Tensor:
    """Sort pairs ``(2, n)`` and drop duplicates."""
    size = int(pairs[1].max()) + 1 if pairs.numel() else 1
    flat: Tensor = torch.unique(pairs[0] * size + pairs[1])
    return torch.stack([flat // size, flat % size])


def unknown_items(events: Events, items: dict[str, int]) -> Sequence[str]:
    """Return the items of a file without a number, in order of appearance."""
    return list(dict.fromkeys(name for name in events.items if name not in items))


def random_holdout(pairs: Tensor, share: float, seed: int) -> Tensor:
    """Hold out a random ``share`` of each user's ``pairs`` ``(2, n)``: ``(n,)`` bool.

    Counts are rounded, but at least one is held out of two or more, and none of one. The result depends on
    the sorted pairs and the seed, not on the order of a file.

    Example:
        >>> pairs = torch.tensor([[0] * 10 + [1], [*range(1, 11), 4]])
        >>> chosen = random_holdout(pairs, 0.2, seed=0)
        >>> int(chosen[:10].sum()), bool(chosen[10])
        (2, False)
    """
    lengths = torch.bincount(pairs[0])
    return sample_per_user(pairs, torch.where(lengths >= 2, (lengths * share).round().clamp_min(1), 0), seed)


def sample_per_user(pairs: Tensor, wanted: Tensor, seed: int) -> Tensor:
    """Sample ``wanted`` ``(U,)`` of each user's ``pairs`` ``(2, n)``: ``(n,)`` bool.

    A larger sample contains the smaller ones.

    Example:
        >>> pairs = torch.tensor([[0, 0, 0, 1], [1, 2, 3, 1]])
        >>> int(sample_per_user(pairs, torch.tensor([2, 0]), seed=0).sum())
        2
    """
    users, lengths = pairs[0], torch.bincount(pairs[0], minlength=len(wanted))
    noise = torch.rand(len(users), generator=torch.Generator().manual_seed(seed))
    order = noise.argsort()
    order = order[users[order].argsort(stable=True)]
    place = torch.arange(len(users)) - (lengths.cumsum(0) - lengths)[users[order]]
    chosen = torch.zeros(len(users), dtype=torch.bool)
    chosen[order] = place < wanted[users[order]]
    return chosen
