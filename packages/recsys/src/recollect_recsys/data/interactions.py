"""Sequential recommendation from a custom file of interactions."""

from collections.abc import Sequence
from typing import final

from recollect_recsys.data.events import Column, Events, read_events
from recollect_recsys.data.sequential import SequentialData


@final
class InteractionsData(SequentialData):
    """Any file of ``user item [rating] [timestamp]``; see ``read_events``.

    Args:
        path: The file.
        columns: Roles of its columns from the left, if the header does not name them; ``skip`` for others.
        batch_size: See ``SequentialData``.
        num_workers: See ``SequentialData``.
        seed: See ``SequentialData``.
        window: See ``SequentialData``.
        past: See ``SequentialData``.
        repeats: See ``SequentialData``.
        new_users: See ``SequentialData``.
        users: See ``SequentialData``.
        separator: What stands between the cells; recognised by default.
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
        users: Sequence[str] | None = None,
        separator: str | None = None,
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
        self.separator = separator

    def read(self) -> Events:
        """Read the file."""
        return read_events(self.path, self.columns, self.separator)
