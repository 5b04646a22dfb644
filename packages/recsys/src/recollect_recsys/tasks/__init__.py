"""What is trained and measured."""

from recollect_recsys.tasks.collaborative_filtering import CollaborativeFiltering
from recollect_recsys.tasks.next_item import NextItem

__all__ = ["CollaborativeFiltering", "NextItem"]
