"""Base class of collaborative filtering datasets: a graph of users and items."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from recollect.training import DataError, DataModule, Split
from recollect_recsys.data.clicks import (
    ClickDataset,
    Clicks,
    index_events,
    random_holdout,
    sample_per_user,
    unique_pairs,
    unknown_items,
)
from recollect_recsys.data.events import Events
from recollect_recsys.data.histories import natural_sort, select_new_users
from recollect_recsys.types import ClickBatch

MAX_SHOWN = 5
"""Number of unknown names that a message shows."""


class Interactions(NamedTuple):
    """Training and test interactions.

    Attributes:
        train: Clicks to train on.
        test: Test clicks; ``None`` to hold them out at random.
    """

    train: Events
    test: Events | None


class CollaborativeData(DataModule):
    """Users' clicks as sets, with validation and test clicks held out per user.

    Validation is a random tenth of each user's training clicks, at least one of two or more. Before the test,
    these clicks are written to the memory as well, since published figures train on all training clicks. The
    catalogue has every item of the files; the checkpoint contains it and the graph. Users in a prediction
    file who are not in the training data are new users.

    Args:
        batch_size: Users in a batch.
        num_workers: As in ``DataModule``; a batch is cut so quickly that 0 is best.
        seed: Seed of the shuffling and of the held-out clicks.
        holdout: Share of each user's training clicks held out for validation; 0 for none.
        new_users: Share of users held out entirely, as if they arrived after training.
        users: Ids of the users to predict for; all by default.

    Raises:
        ValueError: If ``holdout`` or ``new_users`` is not in [0, 1).
    """

    test_share = 0.2
    """Share of each user's clicks used as test without a test file."""

    def __init__(
        self,
        batch_size: int = 1024,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        holdout: float = 0.1,
        new_users: float = 0.0,
        users: Sequence[str] | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        for name, share in (("holdout", holdout), ("new_users", new_users)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be in [0, 1), got {share}")
        self.holdout = holdout
        self.new_users = new_users
        if users is not None and not users:
            raise ValueError("--data.users is empty; leave it out to predict for all")
        self.users = users

    @abstractmethod
    def read(self) -> Interactions:
        """The files."""

    # --- public methods -------------------------------------------------------------------------------------

    @property
    def items(self) -> list[str]:
        """Names of the I items of the catalogue; the first has number 1."""
        return cast(list[str], self.fitted["items"])

    @property
    def popularity(self) -> Tensor:
        """``(I + 1,)`` int64, number of training clicks of each item; 0 for number 0."""
        return cast(Tensor, self.fitted["popularity"])

    def graph(self, held_out: bool) -> Tensor:
        """Return clicks ``(2, n)`` of user and item, from 1 on, with or without those held out."""
        clicks, aside = cast(Tensor, self.fitted["clicks"]), cast(Tensor, self.fitted["held_out"])
        return clicks if held_out else clicks[:, ~aside]

    @cached_property
    def files(self) -> Interactions:
        """The files, read once."""
        return self.read()

    @cached_property
    def names(self) -> list[str]:
        """The users of the files."""
        train, test = self.files
        return natural_sort([*train.users, *(() if test is None else test.users)])

    @cached_property
    def is_new(self) -> Tensor:
        """``(U,)`` bool, which users are held out; it depends on their names and the seed only."""
        return select_new_users(self.names, self.new_users, self.seed)

    def cold_start(self, clicks: int) -> ClickDataset:
        """Return the held-out users with ``clicks`` known clicks each, drawn at random.

        The targets are their test clicks. A larger draw contains the smaller ones.
        """
        known, test = self._pairs["arrived"], self._pairs["arrived_test"]
        users = len(self.names)
        enough = torch.bincount(known[0], minlength=users) >= clicks
        seen = Clicks.from_pairs(
            known[:, sample_per_user(known, torch.full((users,), clicks), self.seed)], users
        )
        target = Clicks.from_pairs(test, users)
        places = (self.is_new & enough & (target.lengths > 0)).nonzero().squeeze(1)
        return ClickDataset(places, torch.zeros_like(self._numbers), seen, target)

    # --- overrides ------------------------------------------------------------------------------------------

    def fit(self) -> dict[str, Any]:
        """Return catalogue, users, clicks, which of these are held out, and item counts."""
        train, test = self.files
        items = natural_sort([*train.items, *(() if test is None else test.items)])
        users = [name for name, new in zip(self.names, self.is_new.tolist(), strict=True) if not new]
        self._fitted = {"items": items, "users": users}
        pairs, aside = self._pairs["known"], self._pairs["aside"]
        popularity = torch.bincount(pairs[1, ~aside], minlength=len(items) + 1)
        clicks = torch.stack([self._numbers[pairs[0]], pairs[1]])
        self._fitted |= {"clicks": clicks, "held_out": aside, "popularity": popularity}
        return self._fitted

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load catalogue and graph of a checkpoint."""
        super().load_state_dict(state_dict)
        for name in ("_pairs", "_numbers"):
            self.__dict__.pop(name, None)

    def dataset(self, split: Split) -> ClickDataset | None:
        """Return the users of a split with at least one click in it."""
        pairs, aside = self._pairs["known"], self._pairs["aside"]
        kept = Clicks.from_pairs(pairs[:, ~aside], len(self.names))
        if split == "train":
            return ClickDataset(kept.lengths.nonzero().squeeze(1), self._numbers, kept)
        if split == "val":
            target = Clicks.from_pairs(pairs[:, aside], len(self.names))
            return self._evaluation_dataset(kept, target) if self.holdout else None
        test = self._pairs["test"]
        if split == "test":
            return self._evaluation_dataset(
                Clicks.from_pairs(pairs, len(self.names)), Clicks.from_pairs(test, len(self.names))
            )
        everything = unique_pairs(
            torch.cat([pairs, test, self._pairs["arrived"], self._pairs["arrived_test"]], 1)
        )
        return ClickDataset(
            self._selected_users(), self._numbers, Clicks.from_pairs(everything, len(self.names))
        )

    def collate(self, items: Any) -> ClickBatch:
        """Convert the dataset's batch."""
        return ClickBatch(*items)

    @property
    def notes(self) -> list[str]:
        """Numbers of clicks."""
        aside, test = self._pairs["aside"], self._pairs["test"]
        notes = [self.files.train.note] if self.files.train.note else []
        notes += [
            f"{len(aside) - int(aside.sum())} clicks to train on, {int(aside.sum())} held out for validation "
            f"and written to the memory before the test, {test.shape[1]} tested"
        ]
        if self.is_new.any():
            notes.append(f"{int(self.is_new.sum())} users are set aside as newcomers")
        parts = ["known", "arrived", *(("test", "arrived_test") if self.files.test is None else ())]
        twice = len(self.files.train.users) - sum(self._pairs[part].shape[1] for part in parts)
        if twice:
            notes.append(f"{twice} clicks stand in the file twice and count once")
        return notes

    # --- splits ---------------------------------------------------------------------------------------------

    @cached_property
    def _pairs(self) -> dict[str, Tensor]:
        """Pairs of user, from 0 on, and item: ``known``, which of these are ``aside``, and ``test``.

        Those of held-out users are separate, as ``arrived`` and ``arrived_test``.
        """
        train, test = self.files
        users = {name: number for number, name in enumerate(self.names)}
        items = {name: number for number, name in enumerate(self.items, 1)}
        for events in (train, test):
            self._warn_of_unknown(events, items)
        known = index_events(train, users, items)
        if test is not None:
            tested = index_events(test, users, items)
        else:
            chosen = random_holdout(known, self.test_share, self.seed)
            known, tested = known[:, ~chosen], known[:, chosen]
        parts = {}
        for name, later, pairs in (("known", "arrived", known), ("test", "arrived_test", tested)):
            new = self.is_new[pairs[0]]
            parts[name], parts[later] = pairs[:, ~new], pairs[:, new]
        aside = torch.zeros(parts["known"].shape[1], dtype=torch.bool)
        if self.holdout:
            aside = random_holdout(parts["known"], self.holdout, self.seed + 1)
        return {**parts, "aside": aside}

    @cached_property
    def _numbers(self) -> Tensor:
        """Number of each user in the model, from 1 on; 0 for unknown users."""
        known = {name: number for number, name in enumerate(self.fitted["users"], 1)}
        return torch.tensor([known.get(name, 0) for name in self.names], dtype=torch.int64)

    def _evaluation_dataset(self, seen: Clicks, target: Clicks) -> ClickDataset:
        places = target.lengths.nonzero().squeeze(1)
        if len(places) == 0:
            raise DataError(f"{self.files.train.source}: nobody has items enough to be measured")
        return ClickDataset(places, self._numbers, seen, target)

    def _selected_users(self) -> Tensor:
        if self.users is None:
            return torch.arange(len(self.names))
        numbers = {name: number for number, name in enumerate(self.names)}
        unknown = [name for name in self.users if name not in numbers]
        if unknown:
            raise DataError(
                f"--data.users names {', '.join(map(repr, unknown[:MAX_SHOWN]))}, "
                f"whom {self.files.train.source} does not have"
            )
        return torch.tensor([numbers[name] for name in self.users], dtype=torch.int64)

    def _warn_of_unknown(self, events: Events | None, items: dict[str, int]) -> None:
        unknown = [] if events is None else unknown_items(events, items)
        if events is not None and unknown:
            where = dict(zip(reversed(events.items), reversed(events.lines), strict=True))
            shown = ", ".join(f"{name!r} (line {where[name]})" for name in unknown[:MAX_SHOWN])
            rank_zero_warn(
                f"{events.source}: {len(unknown)} items are left out, for they are not among those that the "
                f"model was trained on: {shown}{' and more' if len(unknown) > MAX_SHOWN else ''}"
            )
