"""Base class of sequential recommendation datasets: leave-one-out splits and held-out users."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from recollect.training import DataError, DataModule, Split
from recollect_recsys.data.events import Events
from recollect_recsys.data.histories import Histories, histories, natural_sort, select_new_users
from recollect_recsys.data.sessions import SessionDataset, Windows, all_windows, last_windows
from recollect_recsys.types import SessionBatch

MIN_ITEMS = 3
"""Items that a user needs for evaluation: one each for training, validation and test."""


class SequentialData(DataModule):
    """Users' items in order of time: the last one is the test, the one before validation.

    Users with fewer than three items are trained on but not evaluated. The catalogue has every item of the
    file, as in the published protocols; an item that occurs only as a last item is ranked untrained. The
    checkpoint contains the catalogue but no users: everybody in a prediction file gets a list.

    Args:
        batch_size: Sessions in a batch.
        num_workers: As in ``DataModule``; a batch is cut so quickly that 0 is best.
        seed: Seed of the shuffling and of the held-out users.
        window: Largest number T of recent items in a session.
        past: Number P of earlier items given to the memory; its capacity by default.
        repeats: Whether users can have an item several times, and seen items can be recommended; by default
            only the first time counts, and seen items are excluded.
        new_users: Share of users held out entirely, as if they arrived after training.
        users: Ids of the users to predict for; all by default.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        batch_size: int = 256,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        window: int = 50,
        past: int | None = None,
        repeats: bool = False,
        new_users: float = 0.0,
        users: Sequence[str] | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        if window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        if past is not None and past < 0:
            raise ValueError(f"past must not be negative, got {past}")
        if not 0 <= new_users < 1:
            raise ValueError(f"new_users must be in [0, 1), got {new_users}")
        self.window = window
        self.past = past
        self.repeats = repeats
        self.new_users = new_users
        if users is not None and not users:
            raise ValueError("--data.users is empty; leave it out to predict for all")
        self.users = users
        self._datasets: dict[Split, SessionDataset] = {}

    @abstractmethod
    def read(self) -> Events:
        """Return the interactions."""

    # --- public methods -------------------------------------------------------------------------------------

    @cached_property
    def events(self) -> Events:
        """The interactions, read once."""
        return self.read()

    @property
    def items(self) -> list[str]:
        """Names of the I items of the catalogue; the first has number 1."""
        return cast(list[str], self.fitted["items"])

    @property
    def popularity(self) -> Tensor:
        """``(I + 1,)`` int64, how often each item occurs in the training split; 0 for number 0."""
        return cast(Tensor, self.fitted["popularity"])

    @cached_property
    def histories(self) -> Histories:
        """Each user's items in order of time."""
        return histories(self.events, self.items, self.repeats)

    @cached_property
    def is_new(self) -> Tensor:
        """``(U,)`` bool, which users are held out; it depends on their names and the seed only."""
        return select_new_users(self.histories.users, self.new_users, self.seed)

    def cold_start(self, clicks: int) -> SessionDataset:
        """Return the held-out users after their first ``clicks`` items; the next one is the target."""
        users = torch.nonzero(self.is_new & (self.histories.lengths > clicks)).squeeze(1)
        windows = last_windows(users, torch.full_like(users, clicks + 1), self.window)
        return SessionDataset(self.histories, windows, self.past or 0, seen=True)

    # --- overrides ------------------------------------------------------------------------------------------

    def fit(self) -> dict[str, Any]:
        """Return the catalogue and the item counts of the training split."""
        items = natural_sort(self.events.items)
        self._fitted = {"items": items, "popularity": torch.zeros(len(items) + 1, dtype=torch.int64)}
        users, ends = self._training()
        windows = Windows(users, torch.zeros_like(ends), ends)
        everything = SessionDataset(self.histories, windows, past=0)
        rows = torch.arange(len(users)).split(1024)  # type: ignore[no-untyped-call]
        for part in rows:
            targets = everything.cut(part).target.flatten()
            self._fitted["popularity"] += torch.bincount(targets, minlength=len(items) + 1)
        self._fitted["popularity"][0] = 0
        return self._fitted

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the catalogue of a checkpoint."""
        super().load_state_dict(state_dict)
        self._datasets.clear()
        self.__dict__.pop("histories", None)

    def dataset(self, split: Split) -> SessionDataset:
        """Return the sessions of a split."""
        if split not in self._datasets:
            seen = split != "train" or not self.repeats  # the loss excludes seen items
            self._datasets[split] = SessionDataset(self.histories, self._windows(split), self.past or 0, seen)
        return self._datasets[split]

    def collate(self, items: Any) -> SessionBatch:
        """Convert the dataset's batch."""
        return SessionBatch(*items)

    @property
    def notes(self) -> list[str]:
        """Omitted events and users."""
        known, notes = self.histories, [self.events.note] if self.events.note else []
        if known.duplicates:
            notes.append(f"{known.duplicates} events stand in the file twice and count once")
        if known.repeats:
            notes.append(f"{known.repeats} events with an item that the user had before are left out")
        short = int((known.lengths < MIN_ITEMS).sum())
        if short:
            notes.append(f"{short} users have fewer than {MIN_ITEMS} items and are trained on, not measured")
        if self.is_new.any():
            notes.append(f"{int(self.is_new.sum())} users are set aside as newcomers")
        return notes

    # --- splits ---------------------------------------------------------------------------------------------

    def _training(self) -> tuple[Tensor, Tensor]:
        """Return the training users and the end of each one's training items."""
        lengths = self.histories.lengths
        ends = torch.where(lengths >= MIN_ITEMS, lengths - 2, lengths)
        users = torch.nonzero(~self.is_new & (ends > 0)).squeeze(1)
        return users, ends[users]

    def _windows(self, split: Split) -> Windows:
        lengths = self.histories.lengths
        if split == "train":
            return all_windows(*self._training(), self.window)
        if split == "predict":
            users = self._selected_users()
            return last_windows(users, lengths[users] + 1, self.window)
        users = torch.nonzero(~self.is_new & (lengths >= MIN_ITEMS)).squeeze(1)
        if len(users) == 0:
            raise DataError(
                f"{self.events.source}: no user has {MIN_ITEMS} items, so that nobody can be measured"
            )
        return last_windows(users, lengths[users] - int(split == "val"), self.window)

    def _selected_users(self) -> Tensor:
        names = self.histories.users
        if self.users is None:
            return torch.arange(len(names))
        numbers = {name: number for number, name in enumerate(names)}
        unknown = [name for name in self.users if name not in numbers]
        if unknown:
            raise DataError(
                f"--data.users names {', '.join(map(repr, unknown[:5]))}, "
                f"whom {self.events.source} does not have"
            )
        return torch.tensor([numbers[name] for name in self.users], dtype=torch.int64)
