"""How a memory is kept."""

from recollect.storages.base import Entries, Read, Storage
from recollect.storages.vector import VectorState, VectorStorage

__all__ = ["Entries", "Read", "Storage", "VectorState", "VectorStorage"]
