"""Items that are held out of training, as a function of a seed."""

import random
from collections.abc import Hashable, Sequence
from typing import TypeVar

import torch

G = TypeVar("G", bound=Hashable)


def hold_out(count: int, held_out: int, seed: int) -> tuple[list[int], list[int]]:
    """Hold out random items.

    Args:
        count: Number of items.
        held_out: Number of them to hold out.
        seed: Seed of the draw.

    Returns:
        Two sorted lists of items below ``count``: those that are kept, and those that are held out.

    Raises:
        ValueError: If ``held_out`` is not in [0, count).

    Example:
        >>> kept, held = hold_out(5, 2, seed=0)
        >>> sorted(kept + held), len(held)
        ([0, 1, 2, 3, 4], 2)
    """
    if not 0 <= held_out < count:
        raise ValueError(f"{held_out} of {count} items cannot be held out")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return sorted(order[held_out:]), sorted(order[:held_out])


def hold_out_groups(groups: Sequence[G], share: float, seed: int) -> set[G]:
    """Hold out random groups of items, whole ones, so that no group is in two splits.

    Args:
        groups: The groups, in order.
        share: Share of the groups to hold out, rounded to at least one group.
        seed: Seed of the draw.

    Returns:
        The groups that are held out.

    Raises:
        ValueError: If there are fewer than two groups.

    Example:
        >>> len(hold_out_groups(["ann", "bob", "cleo", "dan"], share=0.5, seed=0))
        2
    """
    if len(groups) < 2:
        raise ValueError(f"{len(groups)} groups are too few to hold some out")
    order = list(groups)
    random.Random(seed).shuffle(order)
    return set(order[-max(1, round(share * len(order))) :])
