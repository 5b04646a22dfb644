"""Erasing by slot and writing softly, on every storage that keeps entries apart."""

from typing import Any

import pytest
import torch

from recollect import (
    HashStorage,
    LinkedStorage,
    RelationalMemory,
    SlotStorage,
    Storage,
    TemporalLinkStorage,
    VectorStorage,
)
from recollect.ops.masking import zero_empty

K, V, N = 4, 3, 4

STORAGES = {
    "vector": lambda: VectorStorage(K, V, slots=N),
    "vector-lru": lambda: VectorStorage(K, V, slots=N, policy="lru"),
    "hash": lambda: HashStorage(K, V, buckets=2, capacity=8, entries=N),
    "linked": lambda: LinkedStorage(K, V, slots=N),
    "temporal": lambda: TemporalLinkStorage(K, V, slots=N),
    "temporal-sparse": lambda: TemporalLinkStorage(K, V, slots=N, kept=3),
}
SEARCHED = ("vector", "vector-lru", "temporal", "temporal-sparse")
"""Storages that find entries by search over all slots, so that a soft write can fill a free one."""


@pytest.fixture(params=STORAGES, ids=list(STORAGES))
def named(request) -> tuple[str, SlotStorage[Any]]:
    return request.param, STORAGES[request.param]()


def filled(storage: SlotStorage[Any], count: int = 3) -> tuple[Any, torch.Tensor]:
    return storage.place(storage.initial_state(), torch.eye(K)[:count], torch.eye(V)[:count])


def test_erase_slots_removes_that_entry_and_no_other(named):
    _, storage = named
    state, slots = filled(storage)
    erased = storage.erase_slots(state, slots[[1, 1]], torch.tensor([True, True]))
    entries = storage.entries(erased)
    assert entries.filled[slots].tolist() == [1, 0, 1]
    assert not entries.values[slots[1]].any()
    assert storage.read(erased, torch.eye(K)[1:2]).value[0, 1] == 0
    kept = storage.erase_slots(state, slots, torch.zeros(3, dtype=torch.bool))
    assert storage.entries(kept).filled[slots].tolist() == [1, 1, 1]
    again, place = storage.place(erased, torch.eye(K)[3:], torch.ones(1, V))
    assert storage.entries(again).filled.sum() == 3
    assert place.item() not in (slots[0], slots[2])


@pytest.mark.parametrize("name", ["linked", "temporal", "temporal-sparse"])
def test_an_erased_slot_leaves_the_order(name: str):
    storage: Any = STORAGES[name]()
    state, slots = filled(storage)
    erased = storage.erase_slots(state, slots[1:2])
    following = storage.follow(erased, storage.read(erased, torch.eye(K)[:1]))
    torch.testing.assert_close(following.value, torch.eye(V)[2:3], atol=1e-3, rtol=0)


def test_a_slot_out_of_range_is_refused(named):
    _, storage = named
    state, _ = filled(storage)
    with pytest.raises(ValueError, match=r"slots must be in \[0, 4\)"):
        storage.erase_slots(state, torch.tensor([N]))
    with pytest.raises(ValueError, match="slots must hold integers"):
        storage.erase_slots(state, torch.tensor([0.0]))


def test_a_soft_write_is_that_of_the_neural_turing_machine(named):
    name, storage = named
    state, _ = filled(storage)
    weights = torch.tensor([[0.5, 0.25, 0.0, 0.25], [0.0, 0.5, 0.5, 0.0]])
    value, erase = torch.randn(2, V), torch.rand(2, V)
    before, after = storage.entries(state), storage.entries(storage.write_at(state, weights, value, erase))
    kept = (1 - weights[0].outer(erase[0])) * (1 - weights[1].outer(erase[1]))
    expected = before.values * kept + weights.T @ value
    presence = before.filled
    if name in SEARCHED:  # a soft write fills free slots
        presence = 1 - (1 - presence) * (1 - weights).prod(0)
    torch.testing.assert_close(after.filled, presence)
    torch.testing.assert_close(after.values, zero_empty(expected, presence))
    torch.testing.assert_close(after.keys, before.keys)


def test_gradients_of_a_soft_write_reach_weights_values_and_erasures(named):
    _, storage = named
    state, _ = filled(storage)
    weights, value, erase = (torch.rand(1, size).div(2).requires_grad_() for size in (storage.capacity, V, V))
    storage.entries(storage.write_at(state, weights, value, erase)).values.square().sum().backward()
    assert all(leaf.grad is not None and leaf.grad.any() for leaf in (weights, value, erase))


def test_a_soft_write_of_one_hot_weights_links_like_a_write():
    for kept in (None, N):
        storage = TemporalLinkStorage(K, V, slots=N, kept=kept)
        hard, slots = filled(storage)
        soft = storage.initial_state()
        for slot in slots:
            soft = storage.write_at(soft, torch.eye(N)[slot].unsqueeze(0), torch.ones(1, V))
        weights = torch.eye(N)
        for forward in (True, False):
            torch.testing.assert_close(
                soft.links.follow(weights, forward), hard.links.follow(weights, forward)
            )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.full((1, N), 1.5), torch.ones(1, V)), r"weights must be in \[0, 1\]"),
        ((torch.ones(1, N - 1), torch.ones(1, V)), r"weights must have shape \(…, n, 4\)"),
        ((torch.ones(2, N) / N, torch.ones(1, V)), "weights of shape"),
        ((torch.ones(1, N) / N, torch.ones(1, V), torch.ones(1, 1)), "erase of shape"),
        ((torch.ones(1, N) / N, torch.full((1, V), torch.nan)), r"value\[0\] holds a NaN"),
    ],
)
def test_bad_soft_writes_are_refused(named, arguments, message):
    _, storage = named
    with pytest.raises(ValueError, match=message):
        storage.write_at(storage.initial_state(), *arguments)


def test_a_storage_without_slots_is_refused_by_a_memory_that_needs_them():

    class Sum(Storage[Any]):
        def initial_state(self, *batch, device=None, dtype=None):
            return (torch.zeros(*batch, K, V),)

        def _read(self, state, query):
            raise AssertionError("not called")

        def _write(self, state, key, value, strength, mask, inplace):
            raise AssertionError("not called")

        def _erase(self, state, key, strength, mask, inplace):
            raise AssertionError("not called")

    with pytest.raises(ValueError, match=r"RelationalMemory needs a SlotStorage.*Sum is none"):
        RelationalMemory(K, Sum(K, K))
