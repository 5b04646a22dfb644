"""Memories: layers that write to and read from a storage."""

from recollect.memories.base import Memory
from recollect.memories.entity import EntityMemory
from recollect.memories.example import ClassPrediction, ExampleMemory
from recollect.memories.graph import GraphMemory
from recollect.memories.graph_state import GraphState
from recollect.memories.memory_network import MemoryNetwork, MemoryNetworkState
from recollect.memories.neighbor import Neighborhood, NeighborMemory
from recollect.memories.prototype import PrototypeMemory
from recollect.memories.relational import RelationalMemory, RelationalState
from recollect.memories.seq2seq import Seq2SeqMemory, Seq2SeqState

__all__ = [
    "ClassPrediction",
    "EntityMemory",
    "ExampleMemory",
    "GraphMemory",
    "GraphState",
    "Memory",
    "MemoryNetwork",
    "MemoryNetworkState",
    "NeighborMemory",
    "Neighborhood",
    "PrototypeMemory",
    "RelationalMemory",
    "RelationalState",
    "Seq2SeqMemory",
    "Seq2SeqState",
]
