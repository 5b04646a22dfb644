"""A user's own file of interactions."""

from collections.abc import Sequence
from typing import final

from recollect_recsys.data.events import Column, Events, read_events
from recollect_recsys.data.sequential import SequentialData


@final
class InteractionsData(SequentialData):
    """Any file of ``user item [rating] [timestamp]``; see ``read_events``.

    Args:
        path: The file.
        columns: What its columns are, where they are others.
        batch_size: As in ``SequentialData``.
        num_workers: As in ``SequentialData``.
        seed: As in ``SequentialData``.
        window: As in ``SequentialData``.
        past: As in ``SequentialData``.
        repeats: As in ``SequentialData``.
        new_users: As in ``SequentialData``.
        users: As in ``SequentialData``.
    """

    def __init__(
        self,
        path: str,
        columns: Sequence[Column] | None = None,
        batch_size: int = 256,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        window: int = 50,
        past: int | None = None,
        repeats: bool = False,
        new_users: float = 0.0,
        users: Sequence[str | int] | None = None,
    ) -> None:
        super().__init__(
            batch_size,
            num_workers,
            seed,
            window=window,
            past=past,
            repeats=repeats,
            new_users=new_users,
            users=users,
        )
        self.path = path
        self.columns = columns

    def read(self) -> Events:
        """The file."""
        return read_events(self.path, self.columns)
