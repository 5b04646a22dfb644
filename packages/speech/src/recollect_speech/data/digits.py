"""Strings of digits: their names and their splits."""

import random
import zlib

from recollect.training import Split

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_SHARES: dict[Split, tuple[int, int]] = {"train": (0, 8), "val": (8, 9), "test": (9, 10)}
"""The tenths of all strings that belong to each split."""


def split_of(digits: tuple[int, ...]) -> Split:
    """The split of a string of digits, by its checksum, so that no two splits share a string.

    Example:
        >>> split_of((1, 2, 3)) == split_of((1, 2, 3))
        True
    """
    part = zlib.crc32(bytes(digits)) % 10
    return next(split for split, (first, end) in _SHARES.items() if first <= part < end)


def draw_string(split: Split, min_digits: int, max_digits: int, rng: random.Random) -> tuple[int, ...]:
    """Draw a string of the split, of ``min_digits`` to ``max_digits`` digits."""
    while True:
        digits = tuple(rng.randrange(10) for _ in range(rng.randint(min_digits, max_digits)))
        if split_of(digits) == split:
            return digits


def words(digits: tuple[int, ...]) -> str:
    """Spell out a string of digits.

    Example:
        >>> words((4, 2))
        'four two'
    """
    return " ".join(NAMES[digit] for digit in digits)
