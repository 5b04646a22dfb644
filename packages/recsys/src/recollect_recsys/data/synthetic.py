"""Simulated clicks with planted long- and short-term tastes: nothing to download, and the best is known."""

from collections.abc import Sequence
from functools import cached_property
from typing import final

import numpy as np

from recollect_recsys.data.events import Events
from recollect_recsys.data.sequential import MIN_ITEMS, SequentialData
from recollect_recsys.data.simulation import SimulatedUsers, make_preference_model, simulate

DISCOUNTS = 1 / np.log2(np.arange(2, 12))


@final
class SyntheticData(SequentialData):
    """Users with a lasting taste for one of ten kinds of 20 items, who also follow the last click.

    Each click is of the user's taste (45 %), or one of two items that are wont to follow the last click
    (40 %), or anything (15 %); no item comes twice. A few recent clicks tell what follows; a taste shows in
    many clicks only. The best list is that of someone who knows the world and every taste: its expected hit
    rate and NDCG are computed exactly, user by user, from the probabilities that the clicks were drawn from,
    and stand in the notes.

    Args:
        count: Number of users.
        shortest: Clicks of a user, at least.
        longest: Clicks of a user, at most.
        batch_size: As in ``SequentialData``.
        num_workers: As in ``SequentialData``.
        seed: As in ``SequentialData``, and of the simulation.
        window: As in ``SequentialData``.
        past: As in ``SequentialData``.
        new_users: As in ``SequentialData``.
        users: As in ``SequentialData``.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        count: int = 6000,
        shortest: int = 15,
        longest: int = 30,
        batch_size: int = 256,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        window: int = 5,
        past: int | None = None,
        new_users: float = 0.0,
        users: Sequence[str | int] | None = None,
    ) -> None:
        super().__init__(
            batch_size, num_workers, seed, window=window, past=past, new_users=new_users, users=users
        )
        if count < 1 or not MIN_ITEMS <= shortest <= longest <= 100:
            raise ValueError(
                f"count must be positive and {MIN_ITEMS} ≤ shortest ≤ longest ≤ 100, "
                f"got {count}, {shortest} and {longest}"
            )
        self.count = count
        self.shortest = shortest
        self.longest = longest

    @cached_property
    def simulated(self) -> SimulatedUsers:
        """The users."""
        chance = np.random.default_rng([self.seed, 1])
        lengths = chance.integers(self.shortest, self.longest + 1, size=self.count)
        return simulate(make_preference_model(self.seed), lengths, chance)

    def read(self) -> Events:
        """All clicks, user by user."""
        clicks = self.simulated.clicks
        users = np.nonzero(clicks >= 0)[0].astype(str).tolist()
        items = clicks[clicks >= 0].astype(str).tolist()
        return Events("simulated clicks", users, items, None, range(1, len(users) + 1))

    def best_possible(self) -> tuple[float, float]:
        """Expected HR@10 and NDCG@10 of the best list on the test items of those who are measured."""
        best = self.simulated.best[~self.is_new.numpy()]  # users are numbered, so that they stay in order
        return float(best.sum(1).mean()), float((best * DISCOUNTS).sum(1).mean())

    @property
    def notes(self) -> list[str]:
        """The best possible figures."""
        hit_rate, ndcg = self.best_possible()
        best = f"best possible, knowing every taste: HR@10 {hit_rate:.4f}, NDCG@10 {ndcg:.4f} (expected)"
        return [best, *super().notes]
