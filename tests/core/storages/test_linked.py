"""A linked list: the order is that of a list, whatever is inserted, erased or evicted, at a constant cost."""

import random

import pytest
import torch

from recollect.ops.linked_list import LinkedList, append, empty_linked_list, first_slots, remove
from recollect.state import map_state
from recollect.storages.linked import LinkedStorage
from recollect.storages.linked_state import LinkedState
from recollect.testing.trial import leaves


def in_order(nodes: LinkedList) -> list[int]:
    """The slots of an unbatched list, read forward and checked backward."""
    end = len(nodes.next) - 1
    found, at = [], int(nodes.next[end])
    while at != end:
        assert len(found) < end, "the chain runs in a circle"
        found.append(at)
        at = int(nodes.next[at])
    for place, before in zip([*found, end], [end, *found], strict=True):
        assert int(nodes.prev[place]) == before
    return found


@pytest.mark.parametrize("seed", range(20))
def test_any_places_can_leave_a_chain_at_once(seed: int):
    chance, size = random.Random(seed), 17
    order = chance.sample(range(size), chance.randint(1, size))
    nodes = empty_linked_list(size=size, device=torch.device("cpu"))
    half = len(order) // 2
    for slots in (torch.tensor(order[:half], dtype=torch.int64), torch.tensor(order[half:])):
        nodes = append(nodes, slots, torch.ones(len(slots), dtype=torch.bool), inplace=False)
    assert in_order(nodes) == order
    for count in (1, 3, 12, 20):
        assert first_slots(nodes, count).tolist() == [*order, *[size] * count][:count]
    slots = chance.sample(order, chance.randint(1, len(order)))
    mask = [chance.random() < 0.8 for _ in slots]
    nodes = remove(nodes, torch.tensor(slots), torch.tensor(mask), inplace=False)
    gone = {slot for slot, goes in zip(slots, mask, strict=True) if goes}
    assert in_order(nodes) == [slot for slot in order if slot not in gone]


class Model:
    """The same in plain Python lists: the order, and who was used when."""

    def __init__(self, slots: int):
        self.order: list[int] = []
        self.usage: list[int] = []
        self.free = list(range(slots))[::-1]

    def write(self, after: int) -> int:
        if self.free:
            slot = self.free.pop()
        else:
            slot = next((s for s in self.usage if s != after), self.usage[0])
            self.order.remove(slot)
            self.usage.remove(slot)
        place = self.order.index(after) + 1 if after in self.order else len(self.order)
        self.order.insert(place, slot)
        self.usage.append(slot)
        return slot

    def use(self, slot: int) -> None:
        if slot in self.usage:
            self.usage.remove(slot)
            self.usage.append(slot)

    def erase(self, slots: list[int]) -> None:
        for slot in slots:
            self.order.remove(slot)
            self.usage.remove(slot)
        self.free += slots


@pytest.mark.parametrize(("seed", "slots"), [(0, 1), (1, 2), (2, 6), (3, 6), (4, 6)])
def test_the_order_agrees_with_plain_python(seed: int, slots: int):
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    # Buckets that hold everything: no index is ever dropped, and only equal keys match.
    storage = LinkedStorage(8, 1, slots, match_start=0.99, buckets=2, capacity=2 * slots)
    model, state = Model(slots), storage.initial_state()
    for n in range(80):
        action = chance.random()
        if action < 0.25 and model.order:
            key = state.keys[chance.choice(model.order)].unsqueeze(0)
            gone = [s for s in sorted(model.order) if torch.equal(state.keys[s], key[0])]
            state = storage.erase(state, key)
            model.erase(gone)
        elif action < 0.35:
            slot = chance.randrange(slots)
            state = storage.update(state, torch.tensor([slot]), torch.full((1, 1), float(n)))
            model.use(slot)
        else:
            after = chance.choice([-1, chance.randrange(slots)])
            # Keys that come again make several nodes go in one erase.
            key = torch.eye(8)[chance.randrange(3)].unsqueeze(0) if action < 0.6 else None
            key = torch.randn(1, 8, generator=generator) if key is None else key
            state = storage.write(state, key, torch.full((1, 1), float(n)), after=torch.tensor([after]))
            assert float(state.values[model.write(after)]) == n
        assert in_order(state.order) == model.order
        assert in_order(state.usage) == model.usage
        assert {s for s in range(slots) if storage.entries(state).filled[s] > 0} == set(model.order)


def values_along(storage: LinkedStorage, state: LinkedState, key: torch.Tensor, direction) -> list[float]:
    """What is read at a key and then link by link, until nothing follows."""
    read, values = storage.read(state, key), []
    while bool((read.weights > 0.5).any()):
        values.append(round(read.value.item(), 2))
        read = storage.follow(state, read, direction)
    torch.testing.assert_close(read.value, torch.zeros(1, 1))
    return values


def test_a_list_is_followed_forward_and_backward():
    storage = LinkedStorage(6, 1, slots=6, sharpness=40.0)
    keys, values = torch.eye(6), torch.arange(1.0, 7.0).unsqueeze(-1)
    state = storage.write(storage.initial_state(), keys[:4], values[:4])
    assert values_along(storage, state, keys[:1], "forward") == [1, 2, 3, 4]
    assert values_along(storage, state, keys[2:3], "backward") == [3, 2, 1]
    slot = storage.read(state, keys[1:2])
    after = slot.slots.gather(-1, slot.weights.argmax(-1, keepdim=True)).squeeze(-1)
    state = storage.write(state, keys[4:5], values[4:5], after=after)
    assert values_along(storage, state, keys[:1], "forward") == [1, 2, 5, 3, 4]
    state = storage.erase(state, keys[1:3])
    assert values_along(storage, state, keys[:1], "forward") == [1, 5, 4]
    assert values_along(storage, state, keys[3:4], "backward") == [4, 5, 1]


def test_a_node_half_erased_keeps_its_links():
    storage = LinkedStorage(6, 1, slots=6, sharpness=40.0)
    keys = torch.eye(6)
    state = storage.write(storage.initial_state(), keys[:3], torch.ones(3, 1))
    state = storage.erase(state, keys[1:2], torch.tensor([0.5]))
    assert in_order(state.order) == [0, 1, 2]
    assert storage.entries(state).filled[1].item() == 0.5
    state = storage.erase(state, keys[1:2])
    assert in_order(state.order) == [0, 2]
    assert storage.inspect(state)["previous"].tolist() == [-1, -1, 0, -1, -1, -1]


def test_what_was_erased_since_the_read_leads_nowhere():
    storage = LinkedStorage(6, 1, slots=6)
    keys = torch.eye(6)
    state = storage.write(storage.initial_state(), keys[:3], torch.ones(3, 1))
    read = storage.read(state, keys[:1])
    emptied = storage.erase(state, keys)
    followed = storage.follow(emptied, read)
    assert torch.equal(followed.weights, torch.zeros_like(read.weights))
    assert torch.equal(followed.value, torch.zeros(1, 1))


def test_a_read_spares_a_node_once_it_is_touched():
    storage = LinkedStorage(6, 1, slots=3)
    keys = torch.eye(6)
    state = storage.write(storage.initial_state(), keys[:3], torch.ones(3, 1))
    touched = storage.touch(state, storage.read(state, keys[:1]))
    for before, evicted in ((state, 0), (touched, 1)):
        after = storage.write(before, keys[3:4], torch.ones(1, 1))
        assert torch.equal(after.keys[evicted], keys[3])
    assert in_order(state.usage) == [0, 1, 2]


@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_in_place_and_step_by_step_give_the_same_state(batch: tuple[int, ...]):
    storage, generator = LinkedStorage(8, 3, slots=7, capacity=3), torch.Generator().manual_seed(0)
    keys = torch.randn(*batch, 16, 8, generator=generator)
    values = torch.randn(*batch, 16, 3, generator=generator)
    strength = (torch.rand(*batch, 16, generator=generator) * 1.5 - 0.25).clamp(0, 1)
    mask = torch.rand(*batch, 16, generator=generator) > 0.3
    after = torch.randint(-1, 7, (*batch, 16), generator=generator)
    empty = storage.initial_state(*batch)
    at_once = storage.write(empty, keys, values, strength, mask, after=after)
    at_once = storage.erase(at_once, keys[..., 9:, :], strength[..., 9:].round(), mask[..., 9:])
    one_by_one, reused = empty, map_state(torch.Tensor.clone, empty)
    places = [tensor.data_ptr() for tensor in leaves(reused)]
    for n in range(16):
        row = (
            keys[..., n : n + 1, :],
            values[..., n : n + 1, :],
            strength[..., n : n + 1],
            mask[..., n : n + 1],
        )
        one_by_one = storage.write(one_by_one, *row, after=after[..., n : n + 1])
        with torch.no_grad():
            reused = storage.write(reused, *row, after=after[..., n : n + 1], inplace=True)
    for n in range(9, 16):
        row = (keys[..., n : n + 1, :], strength[..., n : n + 1].round(), mask[..., n : n + 1])
        one_by_one = storage.erase(one_by_one, *row)
        with torch.no_grad():
            reused = storage.erase(reused, *row, inplace=True)
    for ours, single, again in zip(leaves(at_once), leaves(one_by_one), leaves(reused), strict=True):
        assert torch.equal(ours, single)
        assert torch.equal(ours, again)
    assert [tensor.data_ptr() for tensor in leaves(reused)] == places
    assert not bool(empty.clock.any() or empty.stamp.any() or empty.keys.any())


def test_no_verb_in_place_makes_anything_of_the_size_of_the_store(watch_sizes):
    storage = LinkedStorage(8, 3, slots=2**14, tables=2)
    state = storage.initial_state(2)
    key, value = torch.randn(2, 3, 8), torch.randn(2, 3, 3)
    with torch.no_grad(), watch_sizes(state) as seen:
        state = storage.write(state, key, value, after=torch.zeros(2, 3, dtype=torch.int64), inplace=True)
        state = storage.update(state, torch.zeros(2, 3, dtype=torch.int64), value, inplace=True)
        storage.follow(state, storage.read(state, key), "backward")
        storage.erase(state, key, inplace=True)
    assert 0 < seen.largest < 2**12


@pytest.mark.parametrize("slots", [1, 3, 8, 100, 4096])
def test_buckets_hold_twice_as_many_indices_as_there_are_slots(slots: int):
    _, buckets, capacity = LinkedStorage(4, 1, slots).table_shape
    assert 2 * slots <= buckets * capacity < max(2 * capacity, 4 * slots)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"buckets": 3}, "power of two"),
        ({"capacity": 0}, "capacity must be at least 1"),
        ({"tables": 0}, "tables must be at least 1"),
        ({"sharpness": -1.0}, "sharpness must be positive"),
        ({"match_start": 1.0}, "match_start must be in"),
        ({"slots": 0}, "slots must be at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinkedStorage(**{"key_size": 4, "value_size": 1, "slots": 4, **arguments})
