"""Law 12: many rows at once give what single ones give, for the price of few; and ``vmap``."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from recollect.state import map_state
from recollect.testing.compare import assert_close, assert_equal, assert_same_state
from recollect.testing.trial import Trial, leaves


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations inside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def check_bulk_writes(trial: Trial) -> None:
    """Law 12: W rows give what W single ones give, in a number of operations that does not grow with W.

    Where a storage keeps the largest links only, erasing a key in part leaves an entry more links than it
    may keep, and which of them go depends on the keys before: such keys are erased one by one
    (``trial.erases_in_turn``).
    """
    _check_equal_to_single_writes(trial)
    capacity = trial.capacity if trial.slots is None else trial.slots.capacity
    if capacity is None:
        raise ValueError("pass the number of entries that the storage holds: Trial(capacity=…)")
    few, many = max(2, capacity // 8), max(3, capacity - 1)
    old, new, values = trial.distinct(capacity), trial.distinct(many, salt=5), trial.values(many)
    full = trial.storage.write(trial.empty(), old, trial.values(capacity))
    verbs: dict[str, Callable[[int], Any]] = {
        "writes": lambda n: trial.storage.write(trial.empty(), new[..., :n, :], values[..., :n, :]),
        "evictions": lambda n: trial.storage.write(full, new[..., :n, :], values[..., :n, :]),
    }
    if not trial.erases_in_turn:
        verbs["erases"] = lambda n: trial.storage.erase(full, new[..., :n, :])
    for name, verb in verbs.items():
        cheap, dear = (_operations(partial(verb, count)) for count in (few, many))
        # Rounds of pointer jumping grow with the logarithm.
        assert dear <= 1.3 * cheap + 40, f"{name}: {cheap} operations for {few} rows, {dear} for {many}"


def check_vmap(trial: Trial) -> None:
    """``torch.func.vmap`` of a method gives what the method gives for a batch."""
    if not trial.batch or not trial.batch[0]:
        return
    storage, state, steps = trial.storage, trial.written_state(), trial.sequence(4)
    one = map_state(lambda leaf: leaf[0], state)
    copies = map_state(lambda leaf: leaf[:1].expand(leaf.shape).contiguous(), state)
    calls: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
        "write": (storage.write, (steps.key, steps.value, steps.write_strength)),
        "erase": (storage.erase, (steps.key, steps.write_strength)),
        "read": (lambda given, query: (storage.read(given, query).value,), (steps.query,)),
    }
    for name, (call, rows) in calls.items():
        mapped = torch.func.vmap(call)(state, *rows)
        shared = torch.func.vmap(lambda *given, call=call: call(one, *given))(*rows)
        for found, expected in ((mapped, call(state, *rows)), (shared, call(copies, *rows))):
            for ours, theirs in zip(leaves(found), leaves(expected), strict=True):
                assert_close(ours, theirs, f"{name} under vmap and in a batch")


def _check_equal_to_single_writes(trial: Trial) -> None:
    """Write and erase twice the capacity, recurring keys and masked rows among them."""
    trial = trial.double()
    storage, state = trial.storage, trial.written_state()
    steps = trial.sequence(13)
    strength = steps.write_strength.clone()
    strength[..., ::4] = 1
    strength[..., 5] = 0
    mask = trial.pattern(13).expand(strength.shape)
    rows = steps.key, steps.value, strength, mask
    at_once, one_by_one, slots = storage.write(state, *rows), state, []
    for row in range(13):
        now = slice(row, row + 1)
        single = rows[0][..., now, :], rows[1][..., now, :], strength[..., now], mask[..., now]
        if trial.slots is not None:
            slots.append(trial.slots.place(one_by_one, *single)[1])
        one_by_one = storage.write(one_by_one, *single)
    assert_same_state(trial, at_once, one_by_one, "writes at once and one by one")
    if trial.slots is not None:
        placed = trial.slots.place(state, *rows)[1]
        assert_equal(placed, torch.cat(slots, -1), "slots of writes at once and one by one")


def _operations(call: Callable[[], Any]) -> int:
    seen = _Operations()
    with torch.no_grad(), seen:
        call()
    return seen.count
