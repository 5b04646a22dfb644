"""Collaborative filtering from a custom file of interactions."""

from collections.abc import Sequence
from typing import final

from recollect_recsys.data.collaborative import CollaborativeData, Interactions
from recollect_recsys.data.events import Column, read_events


@final
class InteractionGraphData(CollaborativeData):
    """Any file of ``user item [rating] [timestamp]``; a random fifth of each user's items is the test.

    Order and time do not matter.

    Args:
        path: The file; see ``read_events``.
        columns: Roles of its columns from the left, if the header does not name them; ``skip`` for others.
        batch_size: See ``CollaborativeData``.
        num_workers: See ``CollaborativeData``.
        seed: See ``CollaborativeData``.
        holdout: See ``CollaborativeData``.
        new_users: See ``CollaborativeData``.
        users: See ``CollaborativeData``.
        separator: What stands between the cells; recognised by default.
    """

    def __init__(
        self,
        path: str,
        columns: Sequence[Column] | None = None,
        batch_size: int = 1024,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        holdout: float = 0.1,
        new_users: float = 0.0,
        users: Sequence[str] | None = None,
        separator: str | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, seed, holdout=holdout, new_users=new_users, users=users)
        self.path = path
        self.columns = columns
        self.separator = separator

    def read(self) -> Interactions:
        """Read the file."""
        return Interactions(read_events(self.path, self.columns, self.separator), None)
