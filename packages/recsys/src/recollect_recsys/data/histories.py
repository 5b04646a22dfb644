"""Users' items in order of time."""

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from recollect_recsys.data.events import Events

MAX_SHOWN = 5
"""Number of unknown items that a warning shows."""


class Histories(NamedTuple):
    """Each user's items in order of time; items are numbered from 1, and 0 is padding.

    Attributes:
        users: Names of U users.
        starts: ``(U,)`` int64, start of each user's items.
        lengths: ``(U,)`` int64, number of each user's items.
        items: ``(n,)`` int64, all users' items.
        duplicates: Number of events dropped as duplicates.
        repeats: Number of events dropped because the user had the item before.
    """

    users: Sequence[str]
    starts: Tensor
    lengths: Tensor
    items: Tensor
    duplicates: int = 0
    repeats: int = 0

    def items_of(self, user: int) -> list[int]:
        """Return one user's items."""
        start = int(self.starts[user])
        return [int(item) for item in self.items[start : start + int(self.lengths[user])]]


def natural_sort(names: Iterable[str]) -> list[str]:
    """Sort unique names, numerically if all are integers.

    Example:
        >>> natural_sort(["10", "9", "9"]), natural_sort(["10", "9", "b"])
        (['9', '10'], ['10', '9', 'b'])
    """
    different = set(names)
    if all(name.isascii() and name.isdigit() for name in different):
        return sorted(different, key=lambda name: (int(name), name))
    return sorted(different)


def histories(events: Events, catalogue: Sequence[str], keep_repeats: bool = False) -> Histories:
    """Sort events by user and time.

    With timestamps, the order of the file does not matter; simultaneous events of a user are ordered by a
    checksum of user and item. Without timestamps, the file is in order of time. Duplicates of user, item and
    timestamp count once; without timestamps, or unless ``keep_repeats``, only a user's first event with an
    item counts.

    Args:
        events: The events.
        catalogue: The known items, numbered from 1; others are dropped with a warning.
        keep_repeats: Whether a user may have an item several times.
    """
    users = natural_sort(events.users)
    user_numbers = {name: number for number, name in enumerate(users)}
    item_numbers = {name: number for number, name in enumerate(catalogue, 1)}
    user = np.fromiter((user_numbers[name] for name in events.users), np.int64, len(events.users))
    item = np.fromiter((item_numbers.get(name, 0) for name in events.items), np.int64, len(events.items))
    _warn_of_unknown(events, item)
    known = item > 0
    user, item = user[known], item[known]
    stamps = None if events.stamps is None else events.stamps[known]
    order = _order(user, item, stamps, users, catalogue)
    user, item = user[order], item[order]
    duplicates = repeats = 0
    if stamps is not None:
        first = _first_of_each(user, item, stamps[order])
        duplicates = len(user) - len(first)
        user, item = user[first], item[first]
    if not keep_repeats:
        first = _first_of_each(user, item)
        repeats = len(user) - len(first)
        user, item = user[first], item[first]
    lengths = np.bincount(user, minlength=len(users))
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])
    return Histories(users, _tensor(starts), _tensor(lengths), _tensor(item), duplicates, repeats)


def _tensor(numbers: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(numbers.astype(np.int64))


def select_new_users(names: Sequence[str], share: float, seed: int) -> Tensor:
    """Select users to hold out entirely: ``(U,)`` bool.

    The selection depends on each name and the seed only.
    """
    limit = share * 2**32
    return torch.tensor([checksum(f"{seed}:{name}") < limit for name in names], dtype=torch.bool)


def checksum(name: str) -> int:
    """Return a platform-independent number in [0, 2³²) for a name."""
    return zlib.crc32(name.encode())


def _order(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    stamps: NDArray[np.float64] | None,
    users: Sequence[str],
    catalogue: Sequence[str],
) -> NDArray[np.int64]:
    if stamps is None:
        return np.argsort(user, kind="stable")
    of_users = np.array([checksum(name) for name in users], np.uint64)
    of_items = np.array([0, *(checksum(name) for name in catalogue)], np.uint64)
    mixed = (of_users[user] << np.uint64(32)) ^ of_items[item]
    mixed *= np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: the high bits now depend on all of them
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return np.lexsort((item, mixed, stamps, user))


def _first_of_each(*keys: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return indices of the first event with each combination of keys, in order."""
    order = np.lexsort(keys[::-1])  # stable sort
    changed = np.zeros(len(order), bool)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[order][1:] != key[order][:-1]
    return np.sort(order[changed])


def _warn_of_unknown(events: Events, item: NDArray[np.int64]) -> None:
    places = np.flatnonzero(item == 0)
    if len(places) == 0:
        return
    named: dict[str, int] = {}
    for place in places.tolist():
        named.setdefault(events.items[place], events.lines[place])
    shown = ", ".join(f"{name!r} (line {line})" for name, line in list(named.items())[:MAX_SHOWN])
    rank_zero_warn(
        f"{events.source}: {len(places)} events are left out, for their items are not among those that the "
        f"model was trained on: {shown}{' and more' if len(named) > MAX_SHOWN else ''}"
    )
