"""The memory of training windows: it finds what is alike, and never what overlaps."""

import pytest
import torch

from recollect_timeseries.models.backbone import ForecasterSizes
from recollect_timeseries.models.instance_norm import normalize_values, window_statistics
from recollect_timeseries.models.window_memory import BLOCK, WindowMemory

L, H, STEPS, C = 12, 4, 300, 2
SIZES = ForecasterSizes(L, H, C, steps=STEPS, normalize="mean")


def made(values=None, **options):
    memory = WindowMemory(SIZES, **{"periods": [1, 2], "neighbours": 3, **options})
    memory.fit(torch.randn(STEPS, C) if values is None else values)
    return memory


def windows(values, clocks):
    return torch.stack([values[t - L : t] for t in clocks.tolist()])


@pytest.mark.parametrize("stride", [1, 3])
def test_nothing_that_overlaps_the_window_being_forecast_is_ever_read(stride):
    memory = made(stride=stride)
    clocks = torch.arange(L, STEPS - H + 1)
    found = memory.retrieve(windows(memory.values, clocks), clocks)
    apart = (found.origins - clocks[:, None, None]).abs() >= L + H
    assert apart[found.weights > 0].all()
    assert (found.weights.sum(-1) > 0.999).all()


def test_windows_of_the_time_after_training_may_not_read_what_they_overlap_either():
    memory = made()
    clocks = torch.arange(STEPS, STEPS + 2 * L)
    found = memory.retrieve(torch.randn(len(clocks), L, C), clocks)
    reach = found.origins + H  # the end of each window that was read
    assert (reach <= clocks[:, None, None] - L)[found.weights > 0].all()


def test_only_training_windows_are_remembered():
    memory = made()
    found = memory.retrieve(torch.randn(50, L, C), torch.arange(1000, 1050))
    assert found.origins.min() >= L
    assert found.origins.max() <= STEPS - H


def test_what_came_before_comes_back():
    values = torch.randn(STEPS, C)
    values[200:216] = 3 * values[40:56] + 5  # the same shape on another level, and what came after it
    memory = made(values, periods=[1], neighbours=1)
    clock = torch.tensor([200 + L])
    retrieved = memory.retrieve(windows(values, clock), clock)
    assert retrieved.origins.item() == 40 + L
    (future,) = memory.futures(retrieved)
    level = window_statistics(values[40:52].T.unsqueeze(0), "mean")
    torch.testing.assert_close(future, normalize_values(values[52:56].T.unsqueeze(0), level))


def test_each_window_is_answered_alike_in_any_batch():
    memory = made()
    clocks = torch.arange(L, 2 * BLOCK + 7)[torch.randperm(2 * BLOCK + 7 - L)]
    past = windows(memory.values, clocks)
    together = memory.retrieve(past, clocks)
    alone = memory.retrieve(past[-3:], clocks[-3:])
    torch.testing.assert_close(together.weights[-3:], alone.weights)
    assert torch.equal(together.origins[-3:], alone.origins)
    assert (together.weights.sum(-1) > 0.999).all()


def test_where_every_window_overlaps_nothing_is_read():
    sizes = ForecasterSizes(L, H, C, steps=L + H + 4)
    memory = WindowMemory(sizes, periods=[1], neighbours=2)
    memory.fit(torch.randn(L + H + 4, C))
    found = memory.retrieve(torch.randn(1, L, C), torch.tensor([L + 2]))
    assert found.weights.sum() == 0
    assert memory.futures(found)[0].abs().sum() == 0


def test_the_forecast_begins_as_it_was_and_the_map_has_a_gradient():
    memory = made()
    clocks = torch.arange(500, 505)
    futures = memory.futures(memory.retrieve(torch.randn(5, L, C), clocks))
    added = memory(futures)
    assert added.shape == (5, C, H)
    assert not added.any()
    added.sum().backward()
    assert all(part.weight.grad.abs().sum() > 0 for part in memory.out_proj)


def test_what_has_been_indexed_moves_with_the_module_and_is_not_saved():
    memory = made()
    memory.states()
    memory.double()
    assert all(state.keys.dtype == torch.float64 for state in memory.states())
    assert sorted(memory.state_dict()) == sorted(made().state_dict())
    assert not any(name.startswith("indexes") for name in memory.state_dict())


def test_the_memory_travels_with_the_weights():
    memory, other = made(), made()
    past, clocks = torch.randn(4, L, C), torch.arange(500, 504)
    other.retrieve(past, clocks)  # its storages stand; what is loaded must replace them
    other.load_state_dict(memory.state_dict())
    for mine, yours in zip(memory.retrieve(past, clocks), other.retrieve(past, clocks), strict=True):
        assert torch.equal(mine, yours)


@pytest.mark.parametrize(
    "options", [{"neighbours": 0}, {"neighbours": 1000}, {"periods": [5]}, {"stride": 0}]
)
def test_arguments_out_of_range_are_named(options):
    with pytest.raises(ValueError, match="between"):
        WindowMemory(SIZES, **options)
