"""Simulation of users with known preferences, for which the best list is known."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

KINDS = 10
"""Number of kinds of items; a user prefers one of them."""

EACH = 20
"""Number of items of each kind."""

ITEMS = KINDS * EACH

FOLLOWERS = 2
"""Number of likely successors of an item."""


class PreferenceModel(NamedTuple):
    """Click probabilities.

    Attributes:
        tastes: ``(KINDS, EACH)`` the items of each kind.
        followers: ``(ITEMS, FOLLOWERS)`` likely successors of each item.
        loyal: Probability that a click is of the preferred kind.
        chained: Probability that it follows the click before.
    """

    tastes: NDArray[np.int64]
    followers: NDArray[np.int64]
    taste_probability: float
    follow_probability: float


def make_preference_model(
    seed: int, taste_probability: float = 0.45, follow_probability: float = 0.4
) -> PreferenceModel:
    """Return a model with random successors."""
    chance = np.random.default_rng([seed, 0])
    # Each item also has as many followers as it follows.
    followers = np.stack([chance.permutation(ITEMS) for _ in range(FOLLOWERS)], 1)
    return PreferenceModel(
        np.arange(ITEMS).reshape(KINDS, EACH), followers, taste_probability, follow_probability
    )


def next_click_probabilities(
    world: PreferenceModel, taste: NDArray[np.int64], last: NDArray[np.int64] | None, seen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the exact probability of each item to be the next click of each of U users.

    With probability ``loyal`` it is one of the taste's items, with ``chained`` one of those that follow the
    last click, otherwise any item; of those not yet seen, each equally likely. Where a kind has no item left,
    any item takes its place.

    Args:
        world: The click probabilities.
        taste: ``(U,)`` their tastes.
        last: ``(U,)`` their last clicks; ``None`` before the first one.
        seen: ``(U, ITEMS)`` what they have clicked on.

    Returns:
        ``(U, ITEMS)``, each row summing to 1.
    """
    rows = np.arange(len(taste))[:, None]
    unseen = ~seen
    kinds = np.zeros((2, *seen.shape), bool)
    kinds[0][rows, world.tastes[taste]] = True
    if last is not None:
        kinds[1][rows, world.followers[last]] = True
    rest = np.full(len(taste), 1 - world.taste_probability - world.follow_probability)
    probability = np.zeros(seen.shape)
    for share, kind in (
        (world.taste_probability, kinds[0] & unseen),
        (world.follow_probability, kinds[1] & unseen),
    ):
        count = kind.sum(1)
        probability += kind * (share / np.maximum(count, 1))[:, None]
        rest += share * (count == 0)
    probability += unseen * (rest / unseen.sum(1))[:, None]
    return probability


class SimulatedUsers(NamedTuple):
    """U simulated users.

    Attributes:
        taste: ``(U,)`` their preferred kinds.
        clicks: ``(U, longest)`` their items in order, no item twice; −1 after the last.
        best: ``(U, 10)`` before the last click, the probabilities of the ten likeliest items, falling.
    """

    taste: NDArray[np.int64]
    clicks: NDArray[np.int64]
    best: NDArray[np.float64]


def simulate(
    world: PreferenceModel, lengths: NDArray[np.int64], chance: np.random.Generator
) -> SimulatedUsers:
    """Simulate users who click ``lengths`` ``(U,)`` times."""
    count = len(lengths)
    taste = chance.integers(len(world.tastes), size=count)
    seen = np.zeros((count, len(world.followers)), bool)
    clicks = np.full((count, lengths.max()), -1)
    best = np.zeros((count, 10))
    for step in range(clicks.shape[1]):
        now = np.flatnonzero(lengths > step)
        probability = next_click_probabilities(
            world, taste[now], clicks[now, step - 1] if step else None, seen[now]
        )
        ends = lengths[now] == step + 1
        best[now[ends]] = np.sort(probability[ends])[:, :-11:-1]
        reached = probability.cumsum(1)
        drawn = chance.random(len(now)) * reached[:, -1]
        items = (reached <= drawn[:, None]).sum(1)
        clicks[now, step] = items
        seen[now, items] = True
    return SimulatedUsers(taste, clicks, best)
