"""The ten laws that every storage obeys, as one suite."""

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
"""The laws by name, in the order of their numbers; each raises ``AssertionError`` where it does not hold."""


def check_declared(trial: Trial) -> None:
    """What a storage is said to be without, it refuses, in its own name and with advice.

    Raises:
        AssertionError: If a verb in ``trial.without`` is offered after all, or refused without a word.
    """
    storage, steps = trial.storage, trial.sequence(1)
    calls: dict[str, Callable[[], Any]] = {
        "erase": lambda: storage.erase(trial.empty(), steps.key),
        "entries": lambda: storage.entries(trial.empty()),
        "update": lambda: storage.update(trial.empty(), steps.key[..., 0].long() * 0, steps.value),
    }
    for verb in trial.without:
        if verb not in calls:
            raise ValueError(f"every storage has {verb!r}; only {', '.join(calls)} may be left out")
        try:
            calls[verb]()
        except NotImplementedError as refusal:
            message = str(refusal)
            assert type(storage).__name__ in message, (
                f"{verb} is refused without naming the storage: {message!r}"
            )
        else:
            raise AssertionError(f"{type(storage).__name__} is said to be without {verb}, but offers it")


def check_all(storage: Storage, **settings: Any) -> None:
    """Run a storage through all ten laws.

    Args:
        storage: What is tried; a small one (a handful of slots, keys of width 4 or more) is quickest.
        **settings: Of the ``Trial``: batch axes, seed, verbs that the storage does not offer, …

    Raises:
        AssertionError: If a law does not hold; the message says which.

    Example:
        >>> from recollect import VectorStorage
        >>> check_all(VectorStorage(key_size=4, value_size=2, slots=3), steps=4)
    """
    trial = Trial(storage, **settings)
    check_declared(trial)
    for name, law in LAWS.items():
        try:
            law(trial)
        except AssertionError as error:
            raise AssertionError(f"{type(storage).__name__} breaks the law {name!r}: {error}") from error
