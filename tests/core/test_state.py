"""States are values: what maps, picks and saves them."""

import io
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from recollect.state import detach_state, map_state, register_state, select_items, where_items


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
