"""Training, validation and test characters."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch

from recollect.training.errors import ArgumentError
from recollect.training.splits import hold_out
from recollect_vision.data.characters import Character


class CharacterSplits(NamedTuple):
    """Disjoint sets of characters.

    Attributes:
        train: Training characters.
        val: Validation characters.
        test: Test characters.
    """

    train: list[Character]
    val: list[Character]
    test: list[Character]


def random_split(characters: Sequence[Character], test: int, val: int, seed: int) -> CharacterSplits:
    """Draw ``test`` and ``val`` characters at random; the rest is for training.

    Raises:
        ArgumentError: If no character is left for training.
    """
    order = torch.randperm(len(characters), generator=torch.Generator().manual_seed(seed)).tolist()
    train = len(characters) - test - val
    if train < 1:
        raise ArgumentError(
            f"of {len(characters)} characters, {val} for validation and {test} for the test leave none to "
            "learn from"
        )
    drawn = [characters[index] for index in order]
    return CharacterSplits(drawn[:train], drawn[train : train + val], drawn[train + val :])


def alphabet_split(
    characters: Sequence[Character], background: Collection[str], val: int, seed: int
) -> CharacterSplits:
    """Test on alphabets not in ``background``; validate on ``val`` alphabets drawn from it at random."""
    alphabets = sorted({character.alphabet for character in characters} & set(background))
    if not 0 < val < len(alphabets):
        raise ArgumentError(
            f"of {len(alphabets)} background alphabets, 1 to {len(alphabets) - 1} can be held out to validate"
        )
    validation = {alphabets[index] for index in hold_out(len(alphabets), val, seed)[1]}
    return CharacterSplits(
        [c for c in characters if c.alphabet in background and c.alphabet not in validation],
        [c for c in characters if c.alphabet in validation],
        [c for c in characters if c.alphabet not in background],
    )
