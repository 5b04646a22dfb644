"""Serving of collaborative recommendations from a graph memory."""

from collections.abc import Hashable, Sequence
from typing import Any, cast

import torch

from recollect.training import TrainedRun
from recollect_recsys.metrics.ranking import mask_seen, top_items
from recollect_recsys.models.click_memory import ClickMemory
from recollect_recsys.models.collaborative import ClickRecommender
from recollect_recsys.serving.sequential import Recommendation, item_indices
from recollect_recsys.tasks.collaborative import CollaborativeFiltering, top_contributions
from recollect_recsys.types import ClickBatch

CODE_SIZE = 64
"""Width of the random codes that identify users."""


class GraphRecommender:
    """Recommends items to any user from the clicks in a graph memory.

    Item representations are computed once from the training clicks. A user who arrives becomes
    a node, each click an edge, and the next list is read along these edges: nothing is trained. ``erase``
    removes node and edges. Nobody's list depends on who else is served. What training learned from a user's
    clicks is in what the items mean, and is not undone: that takes another ``fit`` without them.

    Args:
        model: A model that looks at users' items.
        precomputed: Result of ``model.precompute`` on the training graph.
        items: The catalogue, names in order of their numbers from 1 on.
        max_users: Number of users held at once; the one held longest is dropped first.
        max_clicks: Number of clicks held at once, of all users; the oldest are dropped first.

    Raises:
        ValueError: If ``max_users`` or ``max_clicks`` is not positive.

    A trained run serves in a few lines::

        recommender = GraphRecommender.from_run(load_run("runs/recsys/lastfm/2026-01-31_12-00-00"))
        recommender.click("somebody", ["51", "227"])
        recommender.recommend("somebody", count=10).items
    """

    def __init__(
        self,
        model: ClickRecommender,
        precomputed: Any,
        items: Sequence[str],
        max_users: int = 1000,
        max_clicks: int = 100_000,
    ) -> None:
        if max_users < 1 or max_clicks < 1:
            raise ValueError(f"max_users and max_clicks must be at least 1, got {max_users} and {max_clicks}")
        self.model = model.eval()
        self.precomputed = precomputed
        self.items = list(items)
        self.max_users = max_users
        self.memory = ClickMemory(len(self.items), max_users, max_clicks, CODE_SIZE)
        self._numbers = {name: number for number, name in enumerate(self.items, 1)}
        graph = self.memory.graph
        self.state = graph.write(graph.initial_state(), self.memory.codes(0, 1 + len(self.items)))
        self._users: dict[Hashable, tuple[int, torch.Tensor]] = {}
        self._arrived = 0

    @classmethod
    def from_run(
        cls, run: TrainedRun, max_users: int = 1000, max_clicks: int = 100_000
    ) -> "GraphRecommender":
        """Create a recommender from a trained run."""
        task = cast(CollaborativeFiltering, run.task)
        return cls(task.model, task.precomputed(), task.data.items, max_users, max_clicks)

    @property
    def users(self) -> list[Hashable]:
        """The users with stored data."""
        return list(self._users)

    def click(self, user: Hashable, items: Sequence[str]) -> None:
        """Take in what a user clicked on; an item they had before counts once.

        Raises:
            KeyError: If an item is not in the catalogue; nothing is taken in then.
        """
        numbers = item_indices(items, self._numbers)
        held = set(self._held(user).tolist())
        new = [n for n in dict.fromkeys(numbers) if n not in held]
        if new:
            node = self._node(user)
            self.state = self.memory.add_clicks(self.state, node, new)

    @torch.no_grad()
    def recommend(self, user: Hashable, count: int = 10, num_explanations: int = 5) -> Recommendation:
        """Return the best ``count`` items for a user and the ``num_explanations`` own items that add most.

        A user of whom nothing is held gets the list for a new user.
        """
        seen = self._held(user).unsqueeze(0)
        nobody = seen.new_zeros(1)
        batch = ClickBatch(nobody, seen, seen[:, :0], nobody)
        scores = self.model.scores(self.precomputed, batch)
        scores[:, 0] = -torch.inf
        items, best = top_items(mask_seen(scores, seen), count)
        there = items[0] > 0
        names = [self.items[item - 1] for item in items[0, there].tolist()]
        added = self.model.attribution(self.precomputed, batch, items[:, there])
        read = None
        if added is not None:
            parts = top_contributions(seen[0], added[0].sum(0, keepdim=True), num_explanations)[0]
            read = [{"item": self.items[item - 1], "weight": share} for item, share in parts]
        return Recommendation(names, best[0, there].tolist(), read)

    def erase(self, user: Hashable) -> None:
        """Delete all data of a user; unknown users are ignored."""
        held = self._users.pop(user, None)
        if held is not None:
            self.state = self.memory.remove_user(self.state, held[1])

    def _held(self, user: Hashable) -> torch.Tensor:
        if user not in self._users:
            return torch.zeros(0, dtype=torch.int64, device=self.state.edges.source.device)
        return self.memory.items_of_user(self.state, self._users[user][0])

    def _node(self, user: Hashable) -> int:
        if user in self._users:
            return self._users[user][0]
        if len(self._users) == self.max_users:
            self.erase(next(iter(self._users)))
        self._arrived += 1
        code = self.memory.codes(self._arrived, 1)
        self.state, node = self.memory.add_user(self.state, code)
        self._users[user] = (node, code)
        return node
