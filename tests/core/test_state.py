"""States are values: what maps, picks and saves them."""

import io
from copy import deepcopy
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from recollect import HashState, HashStorage
from recollect.state import (
    PersistentState,
    detach_state,
    map_state,
    register_state,
    select_items,
    where_items,
)


@register_state
class Inner(NamedTuple):
    count: Tensor
    flags: Tensor


@register_state
class Outer(NamedTuple):
    vectors: Tensor
    inner: Inner
    stores: tuple[Inner, ...]


def example(batch: int = 3, shift: int = 0) -> Outer:
    count = torch.arange(batch) + shift
    inner = Inner(count, count.unsqueeze(-1) % 2 == 0)
    return Outer(count.unsqueeze(-1).float() * torch.ones(batch, 2), inner, (inner, inner))


def test_map_keeps_the_structure_and_its_types():
    doubled = map_state(lambda tensor: tensor + tensor, example())
    assert type(doubled) is Outer
    assert type(doubled.inner) is Inner
    assert type(doubled.stores) is tuple
    assert doubled.inner.count.tolist() == [0, 2, 4]
    total = map_state(lambda a, b: a + b, example(), example(shift=10))
    assert total.stores[1].count.tolist() == [10, 12, 14]


def test_a_field_is_replaced_by_name():
    replaced = example()._replace(vectors=torch.zeros(3))
    assert type(replaced) is Outer
    assert replaced.vectors.tolist() == [0, 0, 0]
    assert replaced.inner.count.tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="vector"):
        example()._replace(vector=torch.zeros(3))


def test_a_state_made_while_compiling_is_a_value_like_any_other():
    def step(state: Outer) -> Outer:
        made = Outer(state.vectors + 1, state.inner, state.stores)
        return map_state(lambda tensor: tensor + 0, made)._replace(
            inner=made.inner._replace(flags=made.vectors)
        )

    torch.compiler.reset()
    found, expected = torch.compile(step, fullgraph=True, backend="eager")(example()), step(example())
    assert type(found) is Outer
    assert type(found.inner) is Inner
    assert torch.equal(found.vectors, expected.vectors)
    assert torch.equal(found.inner.flags, expected.inner.flags)


def test_map_refuses_states_of_different_structure():
    with pytest.raises(ValueError, match="zip"):
        map_state(lambda a, b: a + b, (torch.ones(1), torch.ones(1)), (torch.ones(1),))


def test_items_are_picked_by_number_or_by_bool():
    assert select_items(example(), torch.tensor([2, 0, 2])).inner.count.tolist() == [2, 0, 2]
    assert select_items(example(), torch.tensor([True, False, True])).vectors[:, 0].tolist() == [0, 2]
    assert select_items(example(), torch.tensor([], dtype=torch.int64)).vectors.shape == (0, 2)


def test_items_are_chosen_between_two_states():
    mixed = where_items(torch.tensor([False, True, False]), example(shift=10), example())
    assert mixed.inner.count.tolist() == [0, 11, 2]
    assert mixed.vectors[:, 1].tolist() == [0, 11, 2]
    assert mixed.inner.flags.dtype == torch.bool


def test_a_single_item_without_batch_axes_is_chosen_whole():
    one, other = (map_state(lambda tensor: tensor[1], example(shift=shift)) for shift in (10, 0))
    assert where_items(torch.tensor(True), one, other).inner.count.item() == 11
    assert where_items(torch.tensor(False), one, other).vectors.tolist() == [1, 1]


def test_the_kept_state_decides_the_dtype():
    kept = (torch.ones(2, dtype=torch.float64),)
    assert where_items(torch.tensor([True, False]), (torch.zeros(2),), kept)[0].dtype == torch.float64


def test_a_detached_state_has_no_history():
    vector = torch.ones(3, requires_grad=True)
    assert not detach_state((vector * 2,))[0].requires_grad


def test_registered_states_load_without_pickled_code():
    file = io.BytesIO()
    torch.save(example(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert type(loaded) is Outer
    assert type(loaded.inner) is Inner
    assert torch.equal(loaded.vectors, example().vectors)


# --- a state on a module ------------------------------------------------------------------------------------


def filled(slots: int = 3, **options) -> tuple[HashStorage, HashState]:
    storage = HashStorage(2, 1, buckets=4, capacity=2, entries=slots, **options)
    return storage, storage.write(storage.initial_state(), torch.randn(2, 2), torch.ones(2, 1))


def tensors(state) -> list[Tensor]:
    return [t for item in state for t in ([item] if isinstance(item, Tensor) else tensors(item))]


def assert_equal(actual, expected) -> None:
    assert type(actual) is type(expected)
    for a, b in zip(tensors(actual), tensors(expected), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.mark.parametrize("state", [example(), filled()[1], filled()[0].initial_state(), (), example(0)])
def test_a_persistent_state_travels_in_the_state_dict(state):
    kept, other = PersistentState(state), PersistentState(map_state(torch.zeros_like, state))
    file = io.BytesIO()
    torch.save(kept.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert_equal(other.get(), state)


def test_keys_of_the_state_dict_are_the_fields():
    names = list(PersistentState(example()).state_dict())
    assert names == ["vectors", "inner.count", "inner.flags"] + [
        f"stores.{i}.{field}" for i in (0, 1) for field in ("count", "flags")
    ]
    assert not PersistentState(example(), persistent=False).state_dict()


def test_a_state_of_another_capacity_is_refused_by_its_name_and_changes_nothing():
    (_, small), (_, large) = filled(3), filled(5)
    kept = PersistentState(small)
    with pytest.raises(ValueError, match=r"shape \(5, 2\) where this module keeps one of shape \(3, 2\)"):
        kept.set(large)
    with pytest.raises(RuntimeError, match="size mismatch for keys"):
        PersistentState(small).load_state_dict(PersistentState(large).state_dict())
    assert_equal(kept.get(), small)


def test_a_late_mismatch_changes_nothing():
    kept, before = PersistentState(example()), example()
    with pytest.raises(ValueError, match="same capacity"):
        kept.set(example(shift=1)._replace(stores=(before.inner, example(2).inner)))
    assert_equal(kept.get(), before)


def test_a_persistent_state_moves_with_its_module():
    _, state = filled()
    module = torch.nn.Sequential(PersistentState(state)).to(torch.float64)
    assert module[0].get().keys.dtype == torch.float64
    assert module[0].get().clock.dtype == torch.int64
    module[0].set(state)  # comes in the dtype of the module
    assert module[0].get().keys.dtype == torch.float64
    meta = module.to("meta")
    assert {tensor.device.type for tensor in tensors(meta[0].get())} == {"meta"}


def test_copies_of_a_persistent_state_are_independent():
    storage, state = filled()
    kept = PersistentState(state)
    copied = deepcopy(kept)
    copied.set(storage.write(state, torch.randn(1, 2), torch.ones(1, 1)))
    assert_equal(kept.get(), state)
    assert int(copied.get().clock) == 3


def test_a_persistent_state_keeps_no_graph():
    storage, state = filled()
    value = torch.ones(1, 1, requires_grad=True)
    kept = PersistentState(state)
    kept.set(storage.write(state, torch.randn(1, 2), value))
    assert not any(tensor.requires_grad for tensor in tensors(kept.get()))
    assert not PersistentState(storage.write(state, torch.randn(1, 2), value)).get().values.requires_grad
    assert not list(kept.parameters())


def test_a_snapshot_outlives_replacement_and_loading():
    storage, state = filled()
    kept = PersistentState(state)
    snapshot, expected = kept.get(), map_state(torch.clone, state)
    kept.set(storage.initial_state())
    kept.load_state_dict(PersistentState(map_state(torch.zeros_like, state)).state_dict())
    assert_equal(snapshot, expected)


def test_expanded_and_shared_tensors_load():
    shared = torch.zeros(1, 2).expand(3, 2)
    kept = PersistentState((shared, shared))
    kept.set((shared, shared))
    kept.load_state_dict({"0": torch.zeros(3, 2), "1": torch.arange(6.0).view(3, 2)})
    assert_equal(kept.get(), (torch.zeros(3, 2), torch.arange(6.0).view(3, 2)))


def test_states_hold_tensors_and_states_only():
    with pytest.raises(TypeError, match="1 must be a tensor or a state, got int"):
        PersistentState((torch.zeros(1), 3))
