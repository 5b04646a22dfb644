"""The laws that every storage must satisfy, as one suite."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from recollect.storages.base import Storage
from recollect.testing.laws_bulk import check_bulk_writes
from recollect.testing.laws_content import check_capacity, check_erase, check_read_after_write
from recollect.testing.laws_empty import check_empty_slots
from recollect.testing.laws_gradients import check_compiles, check_gradients
from recollect.testing.laws_scan import check_long_scans
from recollect.testing.laws_shared import check_shared_store
from recollect.testing.laws_time import check_masks, check_scan_equals_steps, check_splits
from recollect.testing.laws_values import check_batch_items, check_states_are_values
from recollect.testing.trial import Trial

LAWS: Mapping[str, Callable[[Trial], None]] = MappingProxyType(
    {
        "read after write": check_read_after_write,
        "erase": check_erase,
        "scan equals steps": check_scan_equals_steps,
        "splits": check_splits,
        "masks": check_masks,
        "batch items": check_batch_items,
        "states are values": check_states_are_values,
        "capacity": check_capacity,
        "gradients": check_gradients,
        "compiles": check_compiles,
        "empty slots": check_empty_slots,
        "bulk writes": check_bulk_writes,
        "shared store": check_shared_store,
        "long scans": check_long_scans,
    }
)
"""The laws by name, in the order of their numbers; each raises ``AssertionError`` if violated."""


def check_all(storage: Storage, **settings: Any) -> None:
    """Check all laws for a storage.

    Args:
        storage: The storage; a small one (a few slots, keys of width 4 or more) is fastest.
        **settings: Arguments of the ``Trial``: batch axes, seed, number of steps, …

    Raises:
        AssertionError: If a law is violated; the message names it.

    Example:
        >>> from recollect import VectorStorage
        >>> check_all(VectorStorage(key_size=4, value_size=2, slots=3), steps=4)
    """
    trial = Trial(storage, **settings)
    for name, law in LAWS.items():
        try:
            law(trial)
        except AssertionError as error:
            raise AssertionError(f"{type(storage).__name__} violates the law {name!r}: {error}") from error
