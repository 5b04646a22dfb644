"""The order of a linked storage, after any writes, inserts and erases."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recollect import LinkedStorage, TemporalLinkStorage
from recollect.state import map_state
from recollect.storages import OrderedStorage, Read
from recollect.testing.trial import leaves

IDS = 10
"""Different keys: orthogonal ones, so that each names one entry."""

VARIANTS: dict[str, Callable[..., OrderedStorage]] = {
    "temporal": TemporalLinkStorage,
    "temporal-sparse": partial(TemporalLinkStorage, kept=8),
    "temporal-sparse-1": partial(TemporalLinkStorage, kept=1),
    "linked": LinkedStorage,
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)
quick = settings(max_examples=12, deadline=None, derandomize=True, database=None)


def linked(variant: str, slots: int = 5, **arguments: Any) -> OrderedStorage:
    return VARIANTS[variant](IDS, 1, slots, sharpness=30.0, **arguments)


def key(*ids: int) -> Tensor:
    return torch.eye(IDS)[list(ids)]


def value(*ids: int) -> Tensor:
    """The value that goes with an id is that id + 1, so that nothing (zero) is no id."""
    return torch.tensor(ids, dtype=torch.float32).unsqueeze(-1) + 1


def write(storage: OrderedStorage, state: Any, *ids: int, **arguments: Any) -> Any:
    return storage.write(state, key(*ids), value(*ids), **arguments)


def chain(storage: OrderedStorage, ids: list[int]) -> Any:
    return write(storage, storage.initial_state(), *ids)


def slot(storage: OrderedStorage, state: Any, identity: int) -> Tensor:
    """Where an entry stands, ``(1,)``."""
    read = storage.read(state, key(identity))
    best = read.weights.argmax(-1)
    return best if read.slots is None else read.slots.gather(-1, best.unsqueeze(-1)).squeeze(-1)


def told(read: Read) -> int | None:
    """The id that a read of one query gave, if any."""
    return round(read.value.item()) - 1 if read.value.abs().item() > 1e-3 else None


def traverse(storage: OrderedStorage, state: Any, start: int, direction: str) -> list[int]:
    """The ids from an entry on, to the end of its list."""
    read, found = storage.read(state, key(start)), []
    while (identity := told(read)) is not None and len(found) <= storage.slots:
        found.append(identity)
        read = storage.follow(state, read, direction)
    return found


def assert_order(storage: OrderedStorage, state: Any, order: list[int]) -> None:
    filled = storage.entries(state).filled
    assert int((filled > 0).sum()) == len(order)
    if order:
        assert traverse(storage, state, order[0], "forward") == order
        assert traverse(storage, state, order[-1], "backward") == order[::-1]


def assert_same(found: Any, expected: Any) -> None:
    for a, b in zip(leaves(found), leaves(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


class ListModel:
    """What linked entries must do when every link is whole."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.order: list[int] = []
        self.used: list[int] = []

    def write(self, identity: int, after: int | None) -> None:
        if len(self.order) == self.slots:
            evicted = next((i for i in self.used if i != after), self.used[0])
            self.erase(evicted)
        behind = self.order.index(after) + 1 if after in self.order else len(self.order)
        self.order.insert(behind, identity)
        self.used.append(identity)

    def erase(self, identity: int) -> None:
        self.order.remove(identity)
        self.used.remove(identity)


@each_variant
@quick
@given(data=st.data())
def test_order_is_that_of_a_python_list(variant: str, data: st.DataObject):
    slots = data.draw(st.sampled_from([1, 2, 5]))
    storage, model = linked(variant, slots), ListModel(slots)
    state = storage.initial_state()
    for _ in range(data.draw(st.integers(1, 12))):
        free = [i for i in range(IDS) if i not in model.order]
        verb = data.draw(st.sampled_from(["append", "insert", "erase"]))
        if verb == "append" or not model.order:
            identity = data.draw(st.sampled_from(free))
            state = write(storage, state, identity)
            model.write(identity, None)
        elif verb == "insert":
            identity, after = data.draw(st.sampled_from(free)), data.draw(st.sampled_from(model.order))
            state = write(storage, state, identity, after=slot(storage, state, after))
            model.write(identity, after)
        else:
            gone = data.draw(st.lists(st.sampled_from(model.order), min_size=1, unique=True))
            state = storage.erase(state, key(*gone))
            for identity in gone:
                model.erase(identity)
        assert_order(storage, state, model.order)


@each_variant
def test_nothing_follows_the_last_and_nothing_precedes_the_first(variant: str):
    storage = linked(variant)
    state = chain(storage, [3, 1, 2])
    for identity, direction in ((2, "forward"), (3, "backward")):
        end = storage.follow(state, storage.read(state, key(identity)), direction)
        assert end.value.abs().max() < 1e-3
        assert end.weights.sum() < 1e-3


@each_variant
def test_many_writes_at_once_are_linked_in_order_and_evict_as_single_ones(variant: str):
    storage = linked(variant, slots=3)
    at_once, one_by_one = chain(storage, [0, 1, 2, 3, 4]), storage.initial_state()
    for identity in range(5):
        one_by_one = write(storage, one_by_one, identity)
    assert_same(at_once, one_by_one)
    assert_order(storage, at_once, [2, 3, 4])


@each_variant
def test_erasing_several_at_once_joins_what_is_left(variant: str):
    storage = linked(variant, slots=8)
    state = chain(storage, [0, 1, 2, 3, 4, 5, 6])
    together = storage.erase(state, key(2, 4, 3, 6))
    assert_order(storage, together, [0, 1, 5])
    one_by_one = state
    for identity in (2, 4, 3, 6):
        one_by_one = storage.erase(one_by_one, key(identity))
    assert_same(together, one_by_one)


@each_variant
def test_an_erased_entry_does_not_take_the_place_of_a_link_that_is_kept(variant: str):
    storage = linked(variant)
    state = write(storage, chain(storage, [0]), 1, 2, 3, after=torch.tensor([0, 0, -1]))
    assert_order(storage, state, [0, 2, 1, 3])
    assert_order(storage, storage.erase(state, key(1)), [0, 2, 3])


@each_variant
def test_one_key_that_matches_a_whole_run_joins_what_is_left(variant: str):
    storage = linked(variant, slots=9)
    state = storage.write(storage.initial_state(), key(0, *[5] * 7, 1), value(0, *[5] * 7, 1))
    assert_order(storage, storage.erase(state, key(5)), [0, 1])


@each_variant
def test_after_a_free_slot_means_after_the_last(variant: str):
    storage = linked(variant)
    state = chain(storage, [0, 1, 2])
    free = slot(storage, state, 1)
    state = write(storage, storage.erase(state, key(1)), 7, after=free)
    assert_order(storage, state, [0, 2, 7])


@each_variant
def test_the_entry_to_come_after_is_not_the_one_evicted(variant: str):
    storage = linked(variant, slots=3)
    state = chain(storage, [0, 1, 2])
    state = write(storage, state, 3, after=slot(storage, state, 0))
    assert_order(storage, state, [0, 3, 2])


@each_variant
def test_a_touched_or_updated_entry_is_spared(variant: str):
    storage = linked(variant, slots=3)
    state = chain(storage, [0, 1, 2])
    touched = storage.touch(state, storage.read(state, key(0)))
    assert_order(storage, write(storage, write(storage, touched, 3), 4), [0, 3, 4])
    updated = storage.update(state, slot(storage, state, 0), value(0))
    assert_order(storage, write(storage, updated, 3), [0, 2, 3])


@each_variant
def test_update_changes_a_value_and_no_link(variant: str):
    storage = linked(variant)
    state = chain(storage, [0, 1, 2])
    state = storage.update(state, slot(storage, state, 1), value(8))
    assert traverse(storage, state, 0, "forward") == [0, 8, 2]


@each_variant
def test_masked_writes_and_erases_change_nothing(variant: str):
    storage = linked(variant)
    state = chain(storage, [0, 1, 2])
    mask, nan = torch.tensor([False]), torch.full((1, IDS), torch.nan)
    for after in (None, torch.tensor([99])):
        assert_same(storage.write(state, nan, nan[:, :1], mask=mask, after=after), state)
    assert_same(storage.erase(state, nan, mask=mask), state)
    partly = write(storage, state, 3, 4, mask=torch.tensor([False, True]), after=torch.tensor([0, 0]))
    assert_order(storage, partly, [0, 4, 1, 2])


@each_variant
def test_a_masked_query_follows_to_nothing(variant: str):
    storage = linked(variant)
    state = chain(storage, [0, 1])
    read = storage.read(state, key(0, 0), torch.tensor([True, False]))
    value_found = storage.follow(state, read).value
    torch.testing.assert_close(value_found, torch.tensor([[2.0], [0.0]]))


@each_variant
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_batch_items_have_lists_of_their_own(variant: str, batch: tuple[int, ...]):
    storage = linked(variant)
    generator = torch.Generator().manual_seed(0)
    count = math.prod(batch)
    orders = torch.stack([torch.randperm(5, generator=generator) for _ in range(count)])
    keys, values = torch.eye(IDS)[orders], orders.unsqueeze(-1).float() + 1
    gone = keys[:, 1:2]
    state = storage.initial_state(*batch)
    state = storage.write(state, keys.reshape(*batch, 5, IDS), values.reshape(*batch, 5, 1))
    state = storage.erase(state, gone.reshape(*batch, 1, IDS))
    after = storage.follow(state, storage.read(state, keys[:, :1].reshape(*batch, 1, IDS)))
    torch.testing.assert_close(after.value, values[:, 2:3].reshape(*batch, 1, 1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("variant", ["temporal", "temporal-sparse"])
def test_following_a_read_of_the_best_few_entries(variant: str):
    storage = linked(variant, top_k=2)
    state = chain(storage, [0, 1, 2])
    assert traverse(storage, state, 0, "forward") == [0, 1, 2]


@each_variant
def test_a_reader_can_be_followed(variant: str):
    storage = linked(variant)
    state = chain(storage, [0, 1, 2])
    read = storage.reader(state)(key(1))
    assert told(storage.follow(state, read)) == 2
    assert told(storage.follow(state, read, "backward")) == 0


@each_variant
def test_inspect_tells_the_order(variant: str):
    storage = linked(variant)
    figures = storage.inspect(chain(storage, [4, 2, 3]))
    assert figures["occupancy"].item() == pytest.approx(0.6)
    assert figures["previous"].tolist() == [-1, 0, 1, -1, -1]


@each_variant
def test_in_place_is_the_same_in_the_same_memory(variant: str):
    storage = linked(variant, slots=4)
    state = chain(storage, [0, 1, 2])
    how = {"after": torch.tensor([0, -1]), "strength": torch.tensor([0.5, 1.0])}
    with torch.no_grad():
        expected = write(storage, state, 3, 4, **how)
        expected = storage.update(storage.erase(expected, key(1)), torch.tensor([0]), value(9))
        mine = map_state(torch.clone, state)
        places = [tensor.data_ptr() for tensor in leaves(mine)]
        steps = write(storage, mine, 3, 4, **how, inplace=True)
        steps = storage.erase(steps, key(1), inplace=True)
        steps = storage.update(steps, torch.tensor([0]), value(9), inplace=True)
    assert_same(steps, expected)
    assert [tensor.data_ptr() for tensor in leaves(steps)] == places
    with pytest.raises(RuntimeError, match="inplace"):
        write(storage, mine, 5, inplace=True)
