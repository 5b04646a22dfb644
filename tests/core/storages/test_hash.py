"""HashStorage: what is filed is found, once; what is gone is never read; and nothing costs more with size."""

import random

import pytest
import torch

from recollect import HashStorage
from recollect.state import map_state
from recollect.testing.trial import leaves


def real(**arguments) -> HashStorage:
    return HashStorage(8, 3, **{"buckets": 16, "capacity": 4, "tables": 3, **arguments})


def whole(**arguments) -> HashStorage:
    return HashStorage(2, 1, **{"buckets": 16, "capacity": 8, "integer_keys": True, **arguments})


def found(read) -> list[set[int]]:
    """The entries that each query of an unbatched read looked at."""
    pairs = zip(read.slots, read.weights, strict=True)
    return [{int(s) for s, w in zip(slots, weights, strict=True) if w > 0} for slots, weights in pairs]


class Model:
    """The bookkeeping of an unbatched store in plain Python: where entries are, and what is evicted."""

    def __init__(self, storage: HashStorage):
        self.storage, self.number, self.hand = storage, 0, 0
        self.free = list(range(storage.size))[::-1]
        self.live: dict[int, int] = {}  # slot → number of its write
        self.codes: dict[int, list[int]] = {}
        self.buckets: dict[
            tuple[int, int], list[tuple[int, int]]
        ] = {}  # places: (number, slot), (0, 0) if free

    def bucket(self, table: int, code: int) -> list[tuple[int, int]]:
        return self.buckets.setdefault((table, code), [(0, 0)] * self.storage.bucket_capacity)

    def write(self, codes: list[int]) -> None:
        if self.free:
            slot = self.free.pop()
        else:
            slot, self.hand = self.hand, (self.hand + 1) % self.storage.size
        self.number += 1
        self.live[slot] = self.number
        self.codes[slot] = codes
        for table, code in enumerate(codes):
            bucket = self.bucket(table, code)
            bucket[bucket.index(min(bucket, key=lambda place: place[0]))] = (self.number, slot)
        for old in [old for old in self.live if not self.tables(old)]:
            del self.live[old]  # its slot is taken when the hand comes to it

    def tables(self, slot: int) -> list[int]:
        """The tables that hold an entry still."""
        entry = (self.live[slot], slot)
        return [t for t, code in enumerate(self.codes[slot]) if entry in self.bucket(t, code)]

    def erase(self, slot: int) -> None:
        entry = (self.live.pop(slot), slot)
        self.free.append(slot)
        for table, code in enumerate(self.codes[slot]):
            bucket = self.bucket(table, code)
            bucket[:] = [(0, 0) if place == entry else place for place in bucket]

    def candidates(self, codes: list[int]) -> set[int]:
        places = [place for table, code in enumerate(codes) for place in self.bucket(table, code)]
        return {slot for number, slot in places if number and self.live.get(slot) == number}


@pytest.mark.parametrize("seed", range(4))
def test_bookkeeping_agrees_with_plain_python(seed: int):
    """Over many writes and erases in a store too small for them, the same entries live, and are found."""
    chance = random.Random(seed)
    storage = real(buckets=4, capacity=2, entries=chance.choice([5, 9, 30]), tables=chance.choice([1, 3]))
    model, state = Model(storage), storage.initial_state()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(60):
        if model.live and chance.random() < 0.3:
            gone = chance.choice(sorted(model.live))
            reachable = model.candidates(model.codes[gone])
            key = state.keys[gone : gone + 1]
            same = [s for s in sorted(reachable) if torch.equal(state.keys[s], key[0])]
            state = storage.erase(state, key)
            # Others that are similar only fade.
            assert same == [gone]
            model.erase(gone)
        else:
            keys = torch.randn(chance.choice([1, 1, 3, 12]), 8, generator=generator)
            for codes in storage._codes(keys).tolist():
                model.write(codes)
            state = storage.write(state, keys, torch.ones(len(keys), 3))
        filled = storage.entries(state).filled
        assert {n for n in range(storage.size) if filled[n] > 0} == set(model.live)
        assert storage.inspect(state)["occupancy"].item() == pytest.approx(len(model.live) / storage.size)
        query = torch.randn(3, 8, generator=generator)
        for entries, code in zip(found(storage.read(state, query)), storage._codes(query), strict=True):
            assert entries == model.candidates(code.tolist())


def test_a_read_is_softmax_over_the_candidates_each_counted_once():
    storage = real(sharpness=3.0, capacity=20)
    generator = torch.Generator().manual_seed(0)
    keys, values = torch.randn(20, 8, generator=generator), torch.randn(20, 3, generator=generator)
    strength = torch.rand(20, generator=generator) + 0.1
    state = storage.write(storage.initial_state(), keys, values, strength.clamp(0, 1))
    queries = torch.randn(30, 8, generator=generator)
    codes, filed = storage._codes(queries), storage._codes(keys)
    read = storage.read(state, queries)
    for q, query in enumerate(queries):
        near = [n for n in range(20) if bool((codes[q] == filed[n]).any())]
        cosine = torch.cosine_similarity(query.unsqueeze(0), keys[near])
        weight = strength.clamp(0, 1)[near] * (3.0 * cosine).exp()
        expected = (weight.unsqueeze(-1) * values[near]).sum(0) / weight.sum() if near else torch.zeros(3)
        torch.testing.assert_close(read.value[q], expected)
    assert read.slots.shape == (30, 3 * 20)


@pytest.mark.parametrize("integer", [False, True])
def test_a_key_just_written_is_always_found(integer: bool):
    """Also in a store that has long been full, and whether a query comes alone or among others."""
    storage = whole(buckets=8, capacity=2) if integer else real(buckets=8, capacity=2, entries=20)
    generator = torch.Generator().manual_seed(0)
    state = storage.initial_state(2)
    with torch.no_grad():
        for n in range(150):
            if integer:
                key = torch.randint(-(2**40), 2**40, (2, 1, 2), generator=generator)
            else:
                key = torch.randn(2, 1, 8, generator=generator) * 10 ** torch.randn(1, generator=generator)
            value = torch.full((2, 1, storage.value_size), 1e4 + n)
            state = storage.write(state, key, value, inplace=True)
            others = key.roll(1, 0).expand(2, 2, -1)
            for query, place in ((key, 0), (torch.cat([others, key], 1), 2)):
                read = storage.read(state, query)
                stamps = state.stamp.gather(-1, read.slots[:, place])
                newest = (stamps == n + 1) & (read.weights[:, place] > 0)
                assert bool(newest.any(-1).all())


def test_integer_keys_are_a_dictionary():
    storage, truth, chance = whole(buckets=64, capacity=16), {}, random.Random(0)
    state = storage.initial_state()
    for n in range(200):
        key = (chance.randrange(6), chance.randrange(-6, 0))
        row = torch.tensor([key])
        action = chance.random()
        if action < 0.2:
            state = storage.erase(state, row)
            truth.pop(key, None)
        elif action < 0.3:
            state = storage.write(state, row, torch.ones(1, 1), strength=torch.zeros(1))
            truth.pop(key, None)
        else:
            state = storage.write(state, row, torch.full((1, 1), float(n)))
            truth[key] = float(n)
        assert int((storage.entries(state).filled > 0).sum()) == len(truth)
    asked = torch.cartesian_prod(torch.arange(7), torch.arange(-7, 0))
    expected = torch.tensor([[truth.get((a, b), 0.0)] for a, b in asked.tolist()])
    assert torch.equal(storage.read(state, asked).value, expected)


def test_an_erase_of_integers_takes_the_strength_s_part_of_the_presence():
    storage = whole()
    key = torch.tensor([[4, 2]])
    state = storage.write(storage.initial_state(), key, torch.ones(1, 1), torch.tensor([0.8]))
    state = storage.erase(state, key, torch.tensor([0.5]))
    assert storage.entries(state).filled.max().item() == pytest.approx(0.4)
    assert storage.read(state, key).value.item() == 1
    assert storage.read(state, torch.tensor([[2, 4]])).value.item() == 0


def test_writing_a_real_key_twice_makes_two_entries():
    storage, key = real(), torch.randn(1, 8)
    state = storage.write(storage.initial_state(), key, torch.full((1, 3), 1.0))
    state = storage.write(state, key, torch.full((1, 3), 3.0))
    assert int((storage.entries(state).filled > 0).sum()) == 2
    torch.testing.assert_close(storage.read(state, key).value, torch.full((1, 3), 2.0))
    state = storage.erase(state, key)
    assert torch.equal(storage.read(state, key).value, torch.zeros(1, 3))
    assert int((storage.entries(state).filled > 0).sum()) == 0


def test_a_full_bucket_drops_the_oldest_and_a_free_place_comes_first():
    storage = real(buckets=1, capacity=3, tables=2, entries=10, match_start=0.99)
    keys, values = torch.eye(8)[:5], torch.eye(5, 3) + 1
    state = storage.write(storage.initial_state(), keys[:3], values[:3])
    state = storage.erase(state, keys[1:2])
    state = storage.write(state, keys[3:4], values[3:4])
    live = {n for n in range(10) if storage.entries(state).filled[n] > 0}
    assert {int(state.keys[n].argmax()) for n in live} == {0, 2, 3}
    state = storage.write(state, keys[4:], values[4:])
    live = {n for n in range(10) if storage.entries(state).filled[n] > 0}
    assert {int(state.keys[n].argmax()) for n in live} == {2, 3, 4}


def test_a_full_store_evicts_the_oldest_entry_from_all_tables():
    storage = real(entries=4, buckets=1, capacity=20, tables=2)
    keys = torch.eye(8)
    state = storage.write(storage.initial_state(), keys[:7], torch.ones(7, 3))
    assert found(storage.read(state, keys[:1])) == [{0, 1, 2, 3}]
    assert {int(row.argmax()) for row in state.keys} == {3, 4, 5, 6}
    assert int((storage.inspect(state)["bucket_fill"] * 20).round().sum()) == 2 * 4


@pytest.mark.parametrize("storage", [real(entries=12), whole(entries=12)], ids=["real", "integer"])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_in_place_and_step_by_step_give_the_same_state(storage: HashStorage, batch: tuple[int, ...]):
    generator = torch.Generator().manual_seed(0)
    if storage.integer_keys:
        keys = torch.randint(0, 4, (*batch, 25, 2), generator=generator)
    else:
        keys = torch.randn(*batch, 25, 8, generator=generator)
    values = torch.randn(*batch, 25, storage.value_size, generator=generator)
    strength = (torch.rand(*batch, 25, generator=generator) * 1.5 - 0.25).clamp(0, 1)
    mask = torch.rand(*batch, 25, generator=generator) > 0.3
    empty = storage.initial_state(*batch)
    at_once = storage.write(empty, keys, values, strength, mask)
    at_once = storage.erase(at_once, keys[..., 9:, :], strength[..., 9:], mask[..., 9:])
    one_by_one, reused = empty, map_state(torch.Tensor.clone, empty)
    places = [tensor.data_ptr() for tensor in leaves(reused)]
    for verb, first in (("write", 0), ("erase", 9)):
        for n in range(first, 25):
            now = slice(n, n + 1)
            rest = (values[..., now, :],) if verb == "write" else ()
            rest = (keys[..., now, :], *rest, strength[..., now], mask[..., now])
            one_by_one = getattr(storage, verb)(one_by_one, *rest)
            with torch.no_grad():
                reused = getattr(storage, verb)(reused, *rest, inplace=True)
    for ours, single, again in zip(leaves(at_once), leaves(one_by_one), leaves(reused), strict=True):
        assert torch.equal(ours, single)
        assert torch.equal(ours, again)
    assert [tensor.data_ptr() for tensor in leaves(reused)] == places
    assert all(bool((tensor == 0).all()) for tensor in (empty.keys, empty.stamp, *empty.tables))


@pytest.mark.parametrize("integer", [False, True])
def test_no_verb_in_place_makes_anything_of_the_size_of_the_store(integer: bool, watch_sizes):
    storage = whole(buckets=2**12) if integer else real(buckets=2**12)
    state = storage.initial_state(2)
    key = torch.randint(0, 9, (2, 3, 2)) if integer else torch.randn(2, 3, 8)
    value = torch.randn(2, 3, storage.value_size)
    with torch.no_grad(), watch_sizes(state) as seen:
        state = storage.write(state, key, value, inplace=True)
        state = storage.update(state, torch.zeros(2, 3, dtype=torch.int64), value, inplace=True)
        storage.read(state, key)
        storage.erase(state, key, inplace=True)
    assert 0 < seen.largest < 2**12


def test_update_gives_new_values_to_live_entries_only():
    storage, keys = real(), torch.eye(8)[:2]
    state = storage.write(storage.initial_state(), keys, torch.ones(2, 3))
    state = storage.erase(state, keys[1:])
    state = storage.update(state, torch.tensor([0, 1, 0]), torch.tensor([[2.0], [3.0], [4.0]]).expand(3, 3))
    assert torch.equal(storage.read(state, keys[:1]).value, torch.full((1, 3), 4.0))
    assert torch.equal(state.values[1], torch.ones(3))


def test_the_hash_is_saved_with_the_module_and_survives_a_change_of_precision():
    storage, other = real(seed=1), real(seed=2)
    keys = torch.randn(50, 8)
    codes = storage._codes(keys)
    assert not torch.equal(other._codes(keys), codes)
    other.load_state_dict(storage.state_dict())
    assert torch.equal(other._codes(keys), codes)
    assert torch.equal(storage.bfloat16().float()._codes(keys), codes)


def test_one_item_is_reset():
    storage = real()
    state = storage.write(storage.initial_state(2), torch.ones(2, 1, 8), torch.ones(2, 1, 3))
    state = storage.reset(state, torch.tensor([True, False]))
    assert storage.read(state, torch.ones(2, 1, 8)).value[:, 0, 0].tolist() == [0, 1]
    assert storage.inspect(state)["occupancy"].tolist() == [0, 1 / 64]
    swapped = storage.select(state, torch.tensor([1, 0]))
    assert storage.read(swapped, torch.ones(2, 1, 8)).value[:, 0, 0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"buckets": 12}, "power of two.*12"),
        ({"buckets": 0}, "power of two.*0"),
        ({"capacity": 0}, "capacity must be at least 1"),
        ({"tables": 0}, "tables must be at least 1"),
        ({"entries": 0}, "entries must be at least 1"),
        ({"sharpness": 0.0}, "sharpness must be positive"),
        ({"match_start": 1.0}, r"match_start must be in \[0, 0.999\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        real(**arguments)


def test_keys_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match=r"query must be floating point, got torch\.int64"):
        real().read(real().initial_state(), torch.ones(1, 8, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"key must be integers .* got torch\.float32"):
        whole().erase(whole().initial_state(), torch.ones(1, 2))
    with pytest.raises(RuntimeError, match="reuses the given state"):
        real().write(real().initial_state(), torch.ones(1, 8), torch.ones(1, 3), inplace=True)
