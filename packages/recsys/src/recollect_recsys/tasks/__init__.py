"""What is trained and measured."""

from recollect_recsys.tasks.collaborative import CollaborativeFiltering
from recollect_recsys.tasks.sequential import NextItem

__all__ = ["CollaborativeFiltering", "NextItem"]
