"""The owner of what a storage keeps."""

from recollect.memories.engine_store import EngineStore
from recollect.memories.slot_store import SlotStore
from recollect.memories.store import Store
from recollect.storages.base import Storage
from recollect.storages.external import ExternalStorage
from recollect.storages.slot import SlotStorage


def store_of(storage: Storage) -> Store:
    """Return the owner of what a storage keeps.

    Raises:
        ValueError: If the storage keeps no entries apart, so that none can be cited or forgotten.
    """
    if isinstance(storage, ExternalStorage):
        return EngineStore(storage)
    if isinstance(storage, SlotStorage):
        return SlotStore(storage)
    raise ValueError(
        f"a lasting memory needs a storage that keeps entries apart; {type(storage).__name__} is none"
    )
