"""The ten laws that every storage must satisfy, as one suite."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from recollect.storages.base import Storage
from recollect.testing.laws_content import check_capacity, check_erase, check_read_after_write
from recollect.testing.laws_gradients import check_compiles, check_gradients
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
    }
)
"""The laws by name, in the order of their numbers; each raises ``AssertionError`` if violated."""


def check_unsupported(trial: Trial) -> None:
    """Check that unsupported methods raise ``NotImplementedError`` that names the storage.

    Raises:
        AssertionError: If a method in ``trial.unsupported`` works, or its error does not name the storage.
    """
    storage, steps = trial.storage, trial.sequence(1)
    calls: dict[str, Callable[[], Any]] = {
        "erase": lambda: storage.erase(trial.empty(), steps.key),
        "entries": lambda: storage.entries(trial.empty()),
        "update": lambda: storage.update(trial.empty(), steps.key[..., 0].long() * 0, steps.value),
    }
    for method in trial.unsupported:
        if method not in calls:
            raise ValueError(f"every storage has {method!r}; only {', '.join(calls)} may be unsupported")
        try:
            calls[method]()
        except NotImplementedError as error:
            message = str(error)
            assert type(storage).__name__ in message, (
                f"the error of {method} does not name the storage: {message!r}"
            )
        else:
            raise AssertionError(
                f"{type(storage).__name__} supports {method}, which is listed as unsupported"
            )


def check_all(storage: Storage, **settings: Any) -> None:
    """Check all ten laws for a storage.

    Args:
        storage: The storage; a small one (a few slots, keys of width 4 or more) is fastest.
        **settings: Arguments of the ``Trial``: batch axes, seed, unsupported methods, …

    Raises:
        AssertionError: If a law is violated; the message names it.

    Example:
        >>> from recollect import VectorStorage
        >>> check_all(VectorStorage(key_size=4, value_size=2, slots=3), steps=4)
    """
    trial = Trial(storage, **settings)
    check_unsupported(trial)
    for name, law in LAWS.items():
        try:
            law(trial)
        except AssertionError as error:
            raise AssertionError(f"{type(storage).__name__} violates the law {name!r}: {error}") from error
