"""``place`` writes as ``write`` does, and says truly where."""

from typing import Any

import pytest
import torch

from recollect import HashStorage, LinkedStorage, Storage, TemporalLinkStorage, VectorStorage
from recollect.testing.trial import leaves

K, V = 6, 2
BATCHES = [(), (2,), (2, 1)]

STORAGES = {
    "vector-ring": lambda: VectorStorage(K, V, slots=4),
    "vector-lru": lambda: VectorStorage(K, V, slots=4, policy="lru"),
    "vector-content": lambda: VectorStorage(K, V, slots=4, policy="content"),
    "hash": lambda: HashStorage(K, V, buckets=2, capacity=3),
    "hash-integers": lambda: HashStorage(K, V, buckets=2, capacity=3, integer_keys=True),
    "linked-soft": lambda: TemporalLinkStorage(K, V, slots=4),
    "linked-sparse": lambda: TemporalLinkStorage(K, V, slots=4, kept=2),
    "linked-hard": lambda: LinkedStorage(K, V, slots=4),
}


@pytest.fixture(params=STORAGES.values(), ids=STORAGES.keys())
def storage(request) -> Storage[Any]:
    return request.param()


def keys_for(storage: Storage[Any], *shape: int) -> torch.Tensor:
    """A few keys that come again, so that upserts meet what they replace."""
    if storage.integer_keys:
        return torch.randint(0, 3, (*shape, 1)).expand(*shape, K).contiguous()
    return torch.eye(K)[torch.randint(0, K, shape)]


@pytest.mark.parametrize("batch", BATCHES)
def test_the_state_is_that_of_write_and_the_slot_holds_the_value(storage: Storage[Any], batch):
    """One at a time, past capacity: the named entry is the new one, with its key, value and presence."""
    torch.manual_seed(0)
    state = storage.initial_state(*batch)
    for _ in range(9):
        key, value = keys_for(storage, *batch, 1), torch.randn(*batch, 1, V)
        strength, mask = torch.rand(*batch, 1) * 0.9 + 0.1, torch.rand(*batch, 1) < 0.7
        expected = storage.write(state, key, value, strength, mask)
        state, slots = storage.place(state, key, value, strength, mask)
        for ours, theirs in zip(leaves(state), leaves(expected), strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(slots >= 0, mask)
        entries = storage.entries(state)
        at = slots.clamp_min(0)
        for field, wanted in ((entries.keys, key), (entries.values, value)):
            assert torch.equal(field.take_along_dim(at.unsqueeze(-1), -2)[mask], wanted[mask])
        assert torch.equal(entries.filled.gather(-1, at)[mask], strength[mask])


@pytest.mark.parametrize("batch", BATCHES)
def test_several_at_once_are_placed_as_one_by_one(storage: Storage[Any], batch):
    torch.manual_seed(1)
    key, value = keys_for(storage, *batch, 9), torch.randn(*batch, 9, V)
    strength, mask = torch.rand(*batch, 9) + 0.01, torch.rand(*batch, 9) < 0.7
    strength = strength.clamp(max=1)
    state, slots = storage.place(storage.initial_state(*batch), key, value, strength, mask)
    single, named = storage.initial_state(*batch), []
    for w in range(9):
        now = slice(w, w + 1)
        one = (key[..., now, :], value[..., now, :], strength[..., now], mask[..., now])
        single, slot = storage.place(single, *one)
        named.append(slot)
    assert torch.equal(slots, torch.cat(named, -1))
    for ours, theirs in zip(leaves(state), leaves(single), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_where_no_entry_is_made_no_slot_is_named(storage: Storage[Any]):
    key, value = keys_for(storage, 3), torch.ones(3, V)
    strength, mask = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([True, True, False])
    _, slots = storage.place(storage.initial_state(), key, value, strength, mask)
    assert slots[0] >= 0
    assert slots[1:].tolist() == [-1, -1]


def test_a_write_of_nothing_names_nothing_and_changes_nothing(storage: Storage[Any]):
    empty = storage.initial_state(2)
    state, slots = storage.place(empty, keys_for(storage, 2, 0), torch.zeros(2, 0, V))
    assert slots.shape == (2, 0)
    assert slots.dtype == torch.int64
    for ours, theirs in zip(leaves(state), leaves(empty), strict=True):
        assert torch.equal(ours, theirs)


def test_in_place_it_names_the_same_slots(storage: Storage[Any]):
    key, value = keys_for(storage, 2, 7), torch.randn(2, 7, V)
    other, expected = storage.place(storage.initial_state(2), key, value)
    with torch.no_grad():
        state, slots = storage.place(storage.initial_state(2), key, value, inplace=True)
    assert torch.equal(slots, expected)
    # A full bucket may have dropped an entry again, whose slot is then free.
    assert torch.equal(storage.entries(state).filled, storage.entries(other).filled)
    assert storage.entries(state).filled.gather(-1, slots[..., -1:]).gt(0).all()
    with pytest.raises(RuntimeError, match="inplace"):
        storage.place(storage.initial_state(2), key, value, inplace=True)


def test_a_place_can_be_asked_for_after_an_entry():
    storage = TemporalLinkStorage(K, V, slots=4)
    state, first = storage.place(storage.initial_state(), torch.eye(K)[:2], torch.ones(2, V))
    state, slot = storage.place(state, torch.eye(K)[2:3], torch.ones(1, V), after=first[:1])
    assert storage.inspect(state)["previous"][slot] == first[0]
    assert storage.inspect(state)["previous"][first[1]] == slot
