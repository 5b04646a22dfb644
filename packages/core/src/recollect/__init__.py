"""Give any PyTorch model a memory."""

from recollect.storages import Entries, Read, Storage, VectorState, VectorStorage

__all__ = ["Entries", "Read", "Storage", "VectorState", "VectorStorage"]
