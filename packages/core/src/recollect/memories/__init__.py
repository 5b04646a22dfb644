"""What remembers."""

from recollect.memories.base import Memory
from recollect.memories.seq2seq import Seq2SeqMemory, Seq2SeqState

__all__ = ["Memory", "Seq2SeqMemory", "Seq2SeqState"]
