"""Strings of digits: their names, and which of them belong to which split."""

import random
import zlib

from recollect.training import Split

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_SHARES: dict[Split, tuple[int, int]] = {"train": (0, 8), "val": (8, 9), "test": (9, 10)}
"""Of ten parts of all strings, those of each split."""


def split_of(digits: tuple[int, ...]) -> Split:
    """Which split a string of digits belongs to: by a checksum, so that splits never share a string.

    Example:
        >>> split_of((1, 2, 3)) == split_of((1, 2, 3))
        True
    """
    part = zlib.crc32(bytes(digits)) % 10
    return next(split for split, (first, end) in _SHARES.items() if first <= part < end)


def draw_string(split: Split, min_digits: int, max_digits: int, chance: random.Random) -> tuple[int, ...]:
    """A random string of the split, of ``min_digits`` to ``max_digits`` digits."""
    while True:
        digits = tuple(chance.randrange(10) for _ in range(chance.randint(min_digits, max_digits)))
        if split_of(digits) == split:
            return digits


def words(digits: tuple[int, ...]) -> str:
    """What is said.

    Example:
        >>> words((4, 2))
        'four two'
    """
    return " ".join(NAMES[digit] for digit in digits)
