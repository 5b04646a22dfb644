"""Serving of sequential recommendations."""

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch

from recollect.state import State
from recollect.training import TrainedRun
from recollect_recsys.metrics.ranking import mask_seen, top_items
from recollect_recsys.models.sequential import SessionRecommender
from recollect_recsys.tasks.sequential import NextItem, name_attributions
from recollect_recsys.types import SessionBatch


class Recommendation(NamedTuple):
    """A list of recommendations.

    Attributes:
        items: Item names, best first.
        scores: Score of each item.
        read: Past items and their weights, largest first; ``None`` if the memory does not provide them.
    """

    items: list[str]
    scores: list[float]
    read: list[dict[str, Any]] | None


class _User(NamedTuple):
    """Data of a user: recent items, older items, and a memory state of the older ones."""

    recent: deque[int]
    older: list[int]
    memory: State | None


class Recommender:
    """Recommends items to any user; no parameters are specific to a user.

    ``click`` takes effect at once: recent clicks are the session, which the memory is written with as it is
    read; clicks that leave the session are written to the user's own memory state, which holds as many as its
    storage has room for. Each user is computed alone, so that nobody's list depends on anybody else.
    ``erase`` drops all that is held of a user. What training learned from a user's clicks is in the weights
    and is not undone.

    Args:
        model: The network, in evaluation mode.
        items: The catalogue, names in order of their numbers from 1 on.
        window: Recent items that make a session, as in training.
        repeats: Whether what was seen can be recommended.

    Raises:
        ValueError: If ``window`` is not positive.

    A trained run serves in a few lines::

        recommender = Recommender.from_run(load_run("runs/recsys/ml-100k/2026-01-31_12-00-00"))
        recommender.click("somebody", ["50", "172"])
        recommender.recommend("somebody", count=10).items
    """

    def __init__(
        self, model: SessionRecommender, items: Sequence[str], window: int, repeats: bool = False
    ) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        self.model = model.eval()
        self.items = list(items)
        self.window = window
        self.repeats = repeats
        self._numbers = {name: number for number, name in enumerate(self.items, 1)}
        self._users: dict[Hashable, _User] = {}

    @classmethod
    def from_run(cls, run: TrainedRun) -> "Recommender":
        """Create a recommender from a trained run."""
        task = cast(NextItem, run.task)
        return cls(task.model, task.data.items, task.data.window, task.data.repeats)

    @property
    def users(self) -> list[Hashable]:
        """The users with stored data."""
        return list(self._users)

    def click(self, user: Hashable, items: Sequence[str]) -> None:
        """Take in what a user clicked on, in order; an item they had before counts once, as in training.

        Raises:
            KeyError: If an item is not in the catalogue; nothing is taken in then.
        """
        numbers = item_indices(items, self._numbers)
        for number in numbers:
            self._append(user, number)

    @torch.no_grad()
    def recommend(self, user: Hashable, count: int = 10, num_explanations: int = 5) -> Recommendation:
        """The best ``count`` items for a user, and the ``num_explanations`` past items that were read most.

        A user of whom nothing is held gets the list for a new user.
        """
        held = self._users.get(user, _User(deque(), [], None))
        batch = self._batch(held)
        states, attribution = self.model.last_state(batch, held.memory)
        seen = batch.seen[:, :0] if self.repeats else batch.seen
        items, scores = top_items(mask_seen(self.model.scores(states), seen), count)
        best = [
            (item, score) for item, score in zip(items[0].tolist(), scores[0].tolist(), strict=True) if item
        ]
        read = (
            None
            if attribution is None
            else name_attributions(batch, attribution, self.items, num_explanations)[0]
        )
        return Recommendation([self.items[item - 1] for item, _ in best], [score for _, score in best], read)

    def erase(self, user: Hashable) -> None:
        """Delete all data of a user; unknown users are ignored."""
        self._users.pop(user, None)

    @torch.no_grad()
    def _append(self, user: Hashable, item: int) -> None:
        recent, older, memory = self._users.get(user, _User(deque(), [], None))
        if not self.repeats and (item in recent or item in older):
            return
        recent.append(item)
        if len(recent) > self.window:
            older.append(recent.popleft())
            if self.model.memory is not None:
                memory = self.model.write_history(self._tensor(older[-1:]), memory)
        self._users[user] = _User(recent, older, memory)

    def _batch(self, held: _User) -> SessionBatch:
        # The beginning is a step of its own for as long as the session has room for it.
        begin = [0] if len(held.recent) < self.window else []
        session = self._tensor([*begin, *held.recent])
        return SessionBatch(
            session=session,
            target=torch.zeros_like(session),
            length=self._tensor([session.shape[1]])[0],
            past=self._tensor(held.older),
            seen=self._tensor([*held.older, *held.recent]),
            user=self._tensor([0])[0],
        )

    def _tensor(self, items: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(items)], dtype=torch.int64, device=self.model.bias.device)


def item_indices(items: Sequence[str], numbers: Mapping[str, int]) -> list[int]:
    """Return the indices of named items.

    Raises:
        KeyError: If an item is not in the catalogue; the first five are named.
    """
    unknown = [name for name in items if name not in numbers]
    if unknown:
        raise KeyError(f"not in the catalogue: {', '.join(map(repr, unknown[:5]))}")
    return [numbers[name] for name in items]
