"""The entries nearest to a query, in every storage with slots."""

import pytest
import torch

from recollect import HashStorage, LinkedStorage, TemporalLinkStorage, VectorStorage

D, N = 5, 40
STORAGES = {
    "vector": lambda: VectorStorage(D, 2, slots=N),
    "linked": lambda: LinkedStorage(D, 2, slots=N),
    "temporal": lambda: TemporalLinkStorage(D, 2, slots=N),
}


def distances(query, keys, metric):
    """The distances, written out."""
    if metric == "l2":
        return (query[:, None] - keys[None]).pow(2).sum(-1)
    if metric == "cosine":
        return 1 - torch.nn.functional.cosine_similarity(query[:, None], keys[None], dim=-1)
    return -(query @ keys.T)


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
@pytest.mark.parametrize("make", STORAGES.values(), ids=STORAGES)
def test_neighbors_are_those_of_a_full_sort(make, metric):
    generator = torch.Generator().manual_seed(0)
    storage, keys = make(), torch.randn(30, D, generator=generator)
    values, query = torch.randn(30, 2, generator=generator), torch.randn(7, D, generator=generator)
    state, slots = storage.place(storage.initial_state(), keys, values)
    found = storage.neighbors(state, query, 4, metric)
    expected = distances(query, keys, metric).sort(-1).indices[:, :4]
    assert torch.equal(found.slots, slots[expected])
    assert torch.equal(found.keys, keys[expected])
    assert torch.equal(found.values, values[expected])
    assert (found.presence == 1).all()


def test_hash_neighbors_are_the_nearest_candidates():
    generator = torch.Generator().manual_seed(0)
    storage, keys = HashStorage(D, 2, buckets=4, capacity=16), torch.randn(30, D, generator=generator)
    state, slots = storage.place(storage.initial_state(), keys, torch.randn(30, 2, generator=generator))
    read = storage.read(state, keys)
    found = storage.neighbors(state, keys, 3)
    assert torch.equal(found.slots[:, 0], slots)  # a key that equals a stored one is always found
    for weights, candidates, chosen, key in zip(read.weights, read.slots, found.slots, keys, strict=True):
        seen = candidates[weights > 0]
        nearest = (storage.entries(state).keys[seen] - key).pow(2).sum(-1).sort().indices
        assert chosen.tolist() == seen[nearest][:3].tolist()


@pytest.mark.parametrize("make", [*STORAGES.values(), lambda: HashStorage(D, 2)], ids=[*STORAGES, "hash"])
def test_fewer_entries_than_neighbors(make):
    storage = make()
    empty = storage.neighbors(storage.initial_state(2), torch.randn(2, 3, D), 4)
    assert (empty.slots == -1).all()
    assert not empty.keys.any()
    assert not empty.presence.any()
    state = storage.write(storage.initial_state(2), torch.ones(2, 1, D), torch.ones(2, 1, 2))
    found = storage.neighbors(state, torch.ones(2, 1, D), 4)
    assert (found.slots[..., 1:] == -1).all()
    assert (found.slots[..., 0] >= 0).all()
    assert found.presence.tolist() == [[[1, 0, 0, 0]]] * 2


@pytest.mark.parametrize("make", STORAGES.values(), ids=STORAGES)
def test_shared_store_answers_as_its_copies(make):
    storage = make()
    state = storage.write(storage.initial_state(), torch.randn(9, D), torch.randn(9, 2))
    query = torch.randn(2, 3, 4, D)
    shared = storage.neighbors(state, query, 3)
    for item in range(2):
        for other in range(3):
            own = storage.neighbors(state, query[item, other], 3)
            for ours, theirs in zip(shared, own, strict=True):
                assert torch.equal(ours[item, other], theirs)


def test_what_was_erased_is_not_found():
    storage = VectorStorage(D, 2, slots=N)
    keys = torch.randn(20, D)
    state, slots = storage.place(storage.initial_state(), keys, torch.randn(20, 2))
    state = storage.erase_slots(state, slots[:10])
    assert set(storage.neighbors(state, keys, 12).slots.flatten().tolist()) == {-1, *slots[10:].tolist()}


def test_gradients_reach_keys_and_values():
    storage = VectorStorage(D, 2, slots=4)
    keys, values = torch.randn(3, D, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    state = storage.write(storage.initial_state(), keys, values)
    found = storage.neighbors(state, torch.randn(2, D), 2)
    (found.keys.sum() + found.values.sum()).backward()
    assert keys.grad.sum() == values.grad.sum() / 2 * D == 2 * 2 * D


def test_bad_arguments():
    storage = VectorStorage(D, 2, slots=N)
    with pytest.raises(ValueError, match="k must be at least 1"):
        storage.neighbors(storage.initial_state(), torch.randn(2, D), 0)
    with pytest.raises(ValueError, match="metric must be one of l2, cosine, dot"):
        storage.neighbors(storage.initial_state(), torch.randn(2, D), 1, "euclidean")
    with pytest.raises(ValueError, match="query must have shape"):
        storage.neighbors(storage.initial_state(), torch.randn(2, D + 1), 1)


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
def test_what_is_empty_is_passed_over_whatever_it_holds(metric):
    storage = VectorStorage(D, 2, slots=6)
    keys = torch.randn(6, D)
    state, slots = storage.place(storage.initial_state(), keys, torch.randn(6, 2))
    state = storage.erase_slots(state, slots[:3])
    spoiled = state._replace(keys=state.keys.clone(), values=state.values.clone())
    spoiled.keys[:3], spoiled.values[:3] = torch.nan, torch.inf
    query = torch.randn(4, D, requires_grad=True)
    for ours, theirs in zip(
        storage.neighbors(spoiled, query, 5, metric), storage.neighbors(state, query, 5, metric), strict=True
    ):
        assert torch.equal(ours, theirs)
