"""What remembers."""

from recollect.memories.base import Memory
from recollect.memories.examples import Answer, ExampleMemory
from recollect.memories.graph import GraphMemory
from recollect.memories.graph_state import GraphState
from recollect.memories.network import MemoryNetwork, MemoryNetworkState
from recollect.memories.prototype import PrototypeMemory
from recollect.memories.relational import RelationalMemory, RelationalState
from recollect.memories.seq2seq import Seq2SeqMemory, Seq2SeqState

__all__ = [
    "Answer",
    "ExampleMemory",
    "GraphMemory",
    "GraphState",
    "Memory",
    "MemoryNetwork",
    "MemoryNetworkState",
    "PrototypeMemory",
    "RelationalMemory",
    "RelationalState",
    "Seq2SeqMemory",
    "Seq2SeqState",
]
