"""Give any PyTorch model a memory."""

from recollect.memories import Memory, Seq2SeqMemory, Seq2SeqState
from recollect.storages import Entries, Read, Storage, VectorState, VectorStorage

__all__ = [
    "Entries",
    "Memory",
    "Read",
    "Seq2SeqMemory",
    "Seq2SeqState",
    "Storage",
    "VectorState",
    "VectorStorage",
]
