"""Sequential recommendation from a custom file of interactions."""

from collections.abc import Sequence
from typing import Any, final

from recollect_recsys.data.events import Column, Events, read_events
from recollect_recsys.data.sequential import SequentialData


@final
class InteractionsData(SequentialData):
    """Any file of ``user item [rating] [timestamp]``; see ``read_events``.

    Args:
        path: The file.
        columns: Roles of its columns from the left, if the header does not name them; ``skip`` for others.
        separator: What stands between the cells; recognised by default.
        options: As in ``SequentialData``.
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

    def read(self) -> Events:
        """Read the file."""
        return read_events(self.path, self.columns, self.separator)
