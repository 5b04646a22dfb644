"""Every storage through all laws."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recollect import HashStorage, LinkedStorage, SlotStorage, Storage, TemporalLinkStorage, VectorStorage
from recollect.storages import vector as vector_module
from recollect.storages.scan import stepwise_scan
from recollect.testing import (
    LAWS,
    Trial,
    check_all,
    check_bulk_writes,
    check_compiles,
    check_default_device,
    check_device,
    check_gradients,
    check_long_scans,
    check_vmap,
)


@dataclass(frozen=True)
class Case:
    """A storage to be tried, and the settings of its trials."""

    name: str
    make: Callable[[], Storage[Any]]
    settings: dict[str, Any] = field(default_factory=dict)


def vector(**arguments: Any) -> Callable[[], Storage[Any]]:
    return lambda: VectorStorage(6, 3, slots=5, **arguments)


ONE_SLOT = {"query", "key", "write_strength", "erase_strength"}
"""The one entry of a storage has the weight 1, whatever its key and presence."""

CASES = [
    Case("vector-ring", vector(learn_sharpness=True)),
    Case("vector-ring-dot", vector(similarity="dot")),
    Case("vector-ring-top2", vector(top_k=2)),
    Case("vector-ring-one-slot", lambda: VectorStorage(6, 3, slots=1), {"non_differentiable": ONE_SLOT}),
    Case("vector-lru", vector(policy="lru", learn_sharpness=True)),
    Case("vector-lru-dot-top3", vector(policy="lru", similarity="dot", top_k=3)),
    Case("vector-content", vector(policy="content")),
    Case("vector-content-dot", vector(policy="content", similarity="dot")),
    # Buckets that hold all entries, so that it is the full store that evicts.
    Case("hash", lambda: HashStorage(6, 3, buckets=4, capacity=8, entries=5, learn_sharpness=True)),
    Case(
        "hash-integers",
        lambda: HashStorage(2, 3, buckets=4, capacity=8, entries=5, integer_keys=True),
        {"non_differentiable": ONE_SLOT},
    ),
    Case("linked-soft", lambda: TemporalLinkStorage(6, 3, slots=5, learn_sharpness=True)),
    Case("linked-sparse", lambda: TemporalLinkStorage(6, 3, slots=5, kept=2), {"erases_in_turn": True}),
    Case("linked-hard", lambda: LinkedStorage(6, 3, slots=5, learn_sharpness=True)),
]

STEPWISE_LENGTH = 40
"""Of the long sequence in the quick tests, where a scan goes step by step; the slow ones take 1,000 steps."""

TRIED_ONCE = ("gradients", "compiles", "long scans")
"""Laws that have a test of their own, since they take long."""

each_case = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
shapes = st.sampled_from([(3,), (2, 2), (), (1,)])
tried = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def trials(draw: st.DrawFn) -> dict[str, Any]:
    steps = 9 - draw(st.integers(0, 8))  # hypothesis begins with the simplest draw: let it be a long sequence
    return {
        "batch": draw(shapes),
        "steps": steps,
        "seed": draw(st.integers(0, 10_000)),
        "cuts": tuple(draw(st.lists(st.integers(0, steps), max_size=4))),
        "mask": tuple(draw(st.lists(st.booleans(), min_size=1, max_size=steps))),
    }


@pytest.mark.parametrize(
    "law", [name for name in LAWS if name not in ("gradients", "compiles", "long scans")]
)
@each_case
@tried
@given(arguments=trials())
def test_law(case: Case, law: str, arguments: dict[str, Any]):
    LAWS[law](Trial(case.make(), **case.settings, **arguments))


LARGE: dict[str, Callable[[], Storage[Any]]] = {
    "vector-ring": lambda: VectorStorage(8, 3, slots=64),
    "vector-lru": lambda: VectorStorage(8, 3, slots=64, policy="lru"),
    "vector-content": lambda: VectorStorage(8, 3, slots=64, policy="content"),
    "hash": lambda: HashStorage(8, 3, buckets=16, capacity=4, entries=64),
    "hash-integers": lambda: HashStorage(2, 3, buckets=16, capacity=8, entries=64, integer_keys=True),
    "linked-soft": lambda: TemporalLinkStorage(8, 3, slots=64),
    "linked-sparse": lambda: TemporalLinkStorage(8, 3, slots=64, kept=2),
    "linked-hard": lambda: LinkedStorage(8, 3, slots=64),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_operations_of_a_write_do_not_grow_with_its_rows(name: str):
    check_bulk_writes(Trial(LARGE[name](), erases_in_turn=name == "linked-sparse"))


SIZES: dict[str, Callable[[int], Storage[Any]]] = {
    "vector-ring": lambda n: VectorStorage(8, 8, slots=n),
    "vector-ring-top4": lambda n: VectorStorage(8, 8, slots=n, top_k=4),
    "vector-lru": lambda n: VectorStorage(8, 8, slots=n, policy="lru"),
    "vector-content": lambda n: VectorStorage(8, 8, slots=n, policy="content"),
    "hash": lambda n: HashStorage(8, 8, buckets=n // 4, entries=n),
    "hash-integers": lambda n: HashStorage(2, 8, buckets=n // 4, entries=n, integer_keys=True),
    "linked-hard": lambda n: LinkedStorage(8, 8, slots=n),
    "linked-soft": lambda n: TemporalLinkStorage(8, 8, slots=n),
    "linked-sparse": lambda n: TemporalLinkStorage(8, 8, slots=n, kept=2),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", SIZES)
def test_what_a_scan_keeps_and_makes_grows_with_its_steps(name: str, monkeypatch):
    # Less than a block of steps keeps everything: take small blocks, so that some steps are several.
    monkeypatch.setattr(vector_module, "MAX_SCAN_BLOCK", 16)
    monkeypatch.setattr(vector_module, "MIN_SCAN_BLOCK", 16)
    soft = name in ("linked-soft", "linked-sparse")
    small, large = (SIZES[name](slots) for slots in ((16, 64) if soft else (16, 4096)))
    check_long_scans(Trial(small, larger=large, changes_all=soft))


@each_case
def test_writes_and_erases_can_be_mapped_over_a_batch(case: Case):
    check_vmap(Trial(case.make(), **case.settings))


@each_case
def test_gradients_reach_every_argument_and_stay_finite(case: Case):
    check_gradients(Trial(case.make(), **case.settings), steps=STEPWISE_LENGTH)


def test_gradients_stay_finite_over_a_thousand_steps():
    check_gradients(Trial(VectorStorage(6, 3, slots=5)), steps=1000)


@pytest.mark.slow
@each_case
def test_gradients_stay_finite_over_a_thousand_steps_of_every_storage(case: Case):
    check_gradients(Trial(case.make(), **case.settings), steps=1000)


@pytest.mark.thorough
@each_case
def test_one_step_compiles(case: Case):
    check_compiles(Trial(case.make(), **case.settings))


@pytest.mark.slow
@each_case
def test_one_step_compiles_to_machine_code(case: Case):
    check_compiles(Trial(case.make(), **case.settings), backend="inductor")


@each_case
def test_a_storage_is_built_on_the_default_device(case: Case):
    with torch.device("meta"):
        storage = case.make()
    assert {part.device.type for part in (*storage.parameters(), *storage.buffers())} == {"meta"}


@each_case
def test_nothing_is_made_on_the_default_device(case: Case):
    check_default_device(Trial(case.make(), **case.settings))


@pytest.mark.gpu
@each_case
def test_a_state_moves_to_another_device(case: Case):
    check_device(Trial(case.make(), **case.settings), "cuda")


class Forgetful(SlotStorage[Any]):
    """Breaks laws on purpose: it ignores ``erase``, and its scan forgets the last step's write."""

    def __init__(self, broken: str, slots: int = 3) -> None:
        super().__init__(4, 2)
        self.inner = VectorStorage(4, 2, slots=32 if broken == "bulk writes" else slots)
        self.broken = broken
        self.calls = 0

    def initial_state(self, *batch, device=None, dtype=None):
        return self.inner.initial_state(*batch, device=device, dtype=dtype)

    def _read(self, state, query):
        self.calls += 1
        read = self.inner._read(state, query)
        if self.broken == "states are values":
            return read._replace(value=read.value + self.calls)
        if self.broken == "batch items":
            return read._replace(value=read.value + read.value.mean(0, keepdim=True))
        return read

    def _write(self, state, key, value, strength, mask, inplace):
        if self.broken == "empty slots":  # zero times NaN is NaN
            value = value + 0 * state.values.sum((-1, -2), keepdim=True)
        if self.broken == "bulk writes":
            for w in range(key.shape[-2]):
                now = slice(w, w + 1)
                rows = key[..., now, :], value[..., now, :], strength[..., now], mask[..., now]
                state = self.inner._write(state, *rows, inplace)
            return state
        if self.broken == "masks":
            mask = torch.ones_like(mask)
        if self.broken == "gradients":
            value = value.detach()
        if self.broken == "capacity" and bool((state.clock >= 3).any()):
            return state
        if self.broken == "splits" and key.shape[-2] > 1:
            key, value, strength, mask = (
                tensor.flip(-1 if tensor.dim() == mask.dim() else -2)
                for tensor in (key, value, strength, mask)
            )
        return self.inner._write(state, key, value, strength, mask, inplace)

    def _erase(self, state, key, strength, mask, inplace):
        return state if self.broken == "erase" else self.inner._erase(state, key, strength, mask, inplace)

    def _update(self, state, slots, value, mask, inplace):
        return self.inner._update(state, slots, value, mask, inplace)

    def _place(self, state, key, value, strength, mask, inplace):
        return self.inner._place(state, key, value, strength, mask, inplace)

    def _erase_slots(self, state, slots, mask, inplace):
        return self.inner._erase_slots(state, slots, mask, inplace)

    def _write_at(self, state, weights, kept, added):
        return self.inner._write_at(state, weights, kept, added)

    @property
    def capacity(self):
        return self.inner.capacity

    def inspect(self, state):
        return self.inner.inspect(state)

    def read(self, state, query, mask=None, *, need_weights=True):
        if self.broken == "shared store" and query.dim() > state.keys.dim():
            query = query.flip(0)
        return super().read(state, query, mask, need_weights=need_weights)

    def entries(self, state):
        return self.inner.entries(state)

    def _scan(self, state, steps):
        return (
            stepwise_scan(self, state, steps) if self.broken == "long scans" else super()._scan(state, steps)
        )

    def scan(self, state, query, *arguments):
        output, state = super().scan(state, query, *arguments)
        return (output.flip(-2) if self.broken == "scan equals steps" else output), state


@pytest.mark.thorough
@pytest.mark.parametrize("law", [law for law in LAWS if law not in ("compiles", "read after write")])
def test_a_storage_that_breaks_a_law_is_found_out(law: str):
    good, bad = (
        Trial(Forgetful(name), larger=Forgetful(name, 256), changes_all=True) for name in ("nothing", law)
    )
    LAWS[law](good)
    with pytest.raises(AssertionError):
        LAWS[law](bad)


def test_the_message_names_the_storage_and_the_law():
    with pytest.raises(AssertionError, match="Forgetful violates the law 'erase'"):
        check_all(Forgetful("erase"))
