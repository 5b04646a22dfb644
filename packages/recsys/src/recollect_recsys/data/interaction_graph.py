"""A user's own file of interactions as a graph: order and time are of no consequence."""

from collections.abc import Sequence
from typing import final

from recollect_recsys.data.collaborative import CollaborativeData, Interactions
from recollect_recsys.data.events import Column, read_events


@final
class InteractionGraphData(CollaborativeData):
    """Any file of ``user item [rating] [timestamp]``; a random fifth of each user's items is the test.

    Args:
        path: The file; see ``read_events``.
        columns: What its columns are, where they are others.
        batch_size: As in ``CollaborativeData``.
        num_workers: As in ``CollaborativeData``.
        seed: As in ``CollaborativeData``.
        holdout: As in ``CollaborativeData``.
        new_users: As in ``CollaborativeData``.
        users: As in ``CollaborativeData``.
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
        users: Sequence[str | int] | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, seed, holdout=holdout, new_users=new_users, users=users)
        self.path = path
        self.columns = columns

    def read(self) -> Interactions:
        """The file."""
        return Interactions(read_events(self.path, self.columns), None)
