"""Which characters are learnt from, which choose, and which are tested on."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch

from recollect.training.errors import ArgumentError
from recollect_vision.data.characters import Character


class CharacterSplits(NamedTuple):
    """Characters by what they are for; no character is in two of them.

    Attributes:
        train: To learn from.
        val: To choose by.
        test: To report on.
    """

    train: list[Character]
    val: list[Character]
    test: list[Character]


def random_split(characters: Sequence[Character], test: int, val: int, seed: int) -> CharacterSplits:
    """``test`` characters drawn at random, then ``val`` of the others; the rest is learnt from.

    Raises:
        ArgumentError: If nothing is left to learn from.
    """
    order = torch.randperm(len(characters), generator=torch.Generator().manual_seed(seed)).tolist()
    learnt = len(characters) - test - val
    if learnt < 1:
        raise ArgumentError(
            f"of {len(characters)} characters, {val} for validation and {test} for the test leave none to "
            "learn from"
        )
    drawn = [characters[place] for place in order]
    return CharacterSplits(drawn[:learnt], drawn[learnt : learnt + val], drawn[learnt + val :])


def alphabet_split(
    characters: Sequence[Character], background: Collection[str], val: int, seed: int
) -> CharacterSplits:
    """Alphabets not in ``background`` are the test; ``val`` of those in it, drawn at random, choose."""
    known = sorted({character.alphabet for character in characters} & set(background))
    if not 0 < val < len(known):
        raise ArgumentError(f"of {len(known)} background alphabets, 1 to {len(known) - 1} can choose")
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed)).tolist()
    choosing = {known[place] for place in order[:val]}
    return CharacterSplits(
        [c for c in characters if c.alphabet in background and c.alphabet not in choosing],
        [c for c in characters if c.alphabet in choosing],
        [c for c in characters if c.alphabet not in background],
    )
