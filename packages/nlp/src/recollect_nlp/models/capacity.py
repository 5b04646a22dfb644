"""How much a memory can hold."""

from recollect import Memory


def capacity(memory: Memory) -> int | None:
    """How many entries the memory's storage keeps apart; ``None`` where it keeps none apart.

    Example:
        >>> from recollect import MemoryNetwork, VectorStorage
        >>> capacity(MemoryNetwork(8, VectorStorage(8, 8, slots=4)))
        4
    """
    storage = memory.storage
    try:
        entries = storage.entries(storage.initial_state(device="meta"))
    except NotImplementedError:
        return None
    return int(entries.filled.shape[-1])
