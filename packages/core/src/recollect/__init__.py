"""Give any PyTorch model a memory."""

from importlib.metadata import version

from recollect.augment import augment
from recollect.augmented import (
    load_memory_state_dict,
    memory_parameters,
    memory_state_dict,
    model_state_dict,
    print_trainable_parameters,
    remove_memory,
    without_memory,
)
from recollect.compress import Compression, compress, prune
from recollect.fit_gate import GateReport, fit_gate
from recollect.integrations import Concatenation, Fusion, Integration, Interpolation, Parallel
from recollect.lasting import Citation, Explanation, explain, forget, provenance, remember
from recollect.memories import (
    EntityMemory,
    ExampleMemory,
    GraphMemory,
    GraphState,
    Memory,
    MemoryNetwork,
    MemoryNetworkState,
    NeighborMemory,
    PrototypeMemory,
    RelationalMemory,
    RelationalState,
    Seq2SeqMemory,
    Seq2SeqState,
)
from recollect.memory_forward import memories_of
from recollect.saving import load_memory, save_memory
from recollect.session import Session, carry
from recollect.session_stack import recomputing
from recollect.storages import (
    DiskStorage,
    Entries,
    HashState,
    HashStorage,
    LinkedState,
    LinkedStorage,
    PackedStorage,
    Read,
    RemoteStorage,
    SlotStorage,
    Storage,
    TemporalLinkState,
    TemporalLinkStorage,
    VectorState,
    VectorStorage,
)

__version__ = version("recollect")

__all__ = [
    "Citation",
    "Compression",
    "Concatenation",
    "DiskStorage",
    "EntityMemory",
    "Entries",
    "ExampleMemory",
    "Explanation",
    "Fusion",
    "GateReport",
    "GraphMemory",
    "GraphState",
    "HashState",
    "HashStorage",
    "Integration",
    "Interpolation",
    "LinkedState",
    "LinkedStorage",
    "Memory",
    "MemoryNetwork",
    "MemoryNetworkState",
    "NeighborMemory",
    "PackedStorage",
    "Parallel",
    "PrototypeMemory",
    "Read",
    "RelationalMemory",
    "RelationalState",
    "RemoteStorage",
    "Seq2SeqMemory",
    "Seq2SeqState",
    "Session",
    "SlotStorage",
    "Storage",
    "TemporalLinkState",
    "TemporalLinkStorage",
    "VectorState",
    "VectorStorage",
    "__version__",
    "augment",
    "carry",
    "compress",
    "explain",
    "fit_gate",
    "forget",
    "load_memory",
    "load_memory_state_dict",
    "memories_of",
    "memory_parameters",
    "memory_state_dict",
    "model_state_dict",
    "print_trainable_parameters",
    "provenance",
    "prune",
    "recomputing",
    "remember",
    "remove_memory",
    "save_memory",
    "without_memory",
]
