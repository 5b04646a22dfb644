"""Synthetic clicks with long- and short-term preferences; no download, and a known optimum."""

from functools import cached_property
from typing import Any, final

import numpy as np

from recollect_recsys.data.events import Events
from recollect_recsys.data.sequential import MIN_ITEMS, SequentialData
from recollect_recsys.data.simulation import SimulatedUsers, make_preference_model, simulate

DISCOUNTS = 1 / np.log2(np.arange(2, 12))


@final
class SyntheticData(SequentialData):
    """Simulated users who prefer one of ten kinds of 20 items and also follow the last click.

    Each click is of the preferred kind (45 %), one of two likely successors of the last click (40 %) or any
    item (15 %); no item repeats. Recent clicks predict successors; the preference shows in many clicks only.
    The notes contain the expected hit rate and NDCG of the best possible list, computed exactly from the true
    probabilities.

    Args:
        count: Number of users.
        shortest: Smallest number of clicks per user.
        longest: Largest number of clicks per user.
        window: As in ``SequentialData``.
        options: As in ``SequentialData``.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        count: int = 6000,
        shortest: int = 15,
        longest: int = 30,
        *,
        window: int = 5,
        **options: Any,
    ) -> None:
        super().__init__(window=window, **options)
        if self.repeats:
            raise ValueError("repeats must be false: no simulated user clicks an item twice")
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
        """The simulated users."""
        chance = np.random.default_rng([self.seed, 1])
        lengths = chance.integers(self.shortest, self.longest + 1, size=self.count)
        return simulate(make_preference_model(self.seed), lengths, chance)

    def read(self) -> Events:
        """Return all clicks, user by user."""
        clicks = self.simulated.clicks
        users = np.nonzero(clicks >= 0)[0].astype(str).tolist()
        items = clicks[clicks >= 0].astype(str).tolist()
        return Events("simulated clicks", users, items, None, range(1, len(users) + 1))

    def best_possible(self) -> tuple[float, float]:
        """Return expected HR@10 and NDCG@10 of the best list on the test items."""
        best = self.simulated.best[~self.is_new.numpy()]  # users are numbered, so their order is kept
        return float(best.sum(1).mean()), float((best * DISCOUNTS).sum(1).mean())

    @property
    def notes(self) -> list[str]:
        """The best possible metrics."""
        hit_rate, ndcg = self.best_possible()
        best = f"best possible, knowing every taste: HR@10 {hit_rate:.4f}, NDCG@10 {ndcg:.4f} (expected)"
        return [best, *super().notes]
