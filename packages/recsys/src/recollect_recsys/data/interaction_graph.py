"""Collaborative filtering from a custom file of interactions."""

from collections.abc import Sequence
from typing import Any, final

from recollect_recsys.data.collaborative import CollaborativeData, Interactions
from recollect_recsys.data.events import Column, read_events


@final
class InteractionGraphData(CollaborativeData):
    """Any file of ``user item [rating] [timestamp]``; a random fifth of each user's items is the test.

    Order and time do not matter.

    Args:
        path: The file; see ``read_events``.
        columns: Roles of its columns from the left, if the header does not name them; ``skip`` for others.
        separator: What stands between the cells; recognised by default.
        options: As in ``CollaborativeData``.
    """

    def __init__(
        self,
        path: str,
        columns: Sequence[Column] | None = None,
        *,
        separator: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.path = path
        self.columns = columns
        self.separator = separator

    def read(self) -> Interactions:
        """Read the file."""
        return Interactions(read_events(self.path, self.columns, self.separator), None)
