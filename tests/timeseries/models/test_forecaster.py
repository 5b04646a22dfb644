"""Backbones and what is around them."""

import pytest
import torch

from recollect import Concatenation, Parallel, PrototypeMemory, VectorStorage
from recollect_timeseries.models.backbone import ForecasterSizes
from recollect_timeseries.models.forecasting import Forecaster
from recollect_timeseries.models.instance_norm import denormalize_values, normalize_values, window_statistics
from recollect_timeseries.models.linear import CycleLinear, DLinear, Linear
from recollect_timeseries.models.linear_maps import LinearMaps
from recollect_timeseries.models.patch_transformer import PatchTransformer
from recollect_timeseries.models.seasonal_naive import SeasonalNaive

L, H, C, B = 24, 6, 3, 4
SIZES = ForecasterSizes(L, H, C)
WITHOUT_MEMORY = {"maps": lambda sizes: LinearMaps(sizes, harmonics=2, fine=8, coarse=4)}
TAKING_A_MEMORY = {
    "linear": Linear,
    "dlinear": DLinear,
    "cycle": lambda sizes: CycleLinear(sizes, period=5),
    "patches": lambda sizes: PatchTransformer(sizes, patch=8, stride=4, width=8, heads=2, hidden=16),
}
LEARNING = {**TAKING_A_MEMORY, **WITHOUT_MEMORY}


@pytest.mark.parametrize("normalize", ["none", "last", "mean", "revin"])
def test_what_is_taken_out_can_be_put_back(normalize):
    past = 5 + 3 * torch.randn(B, C, L)
    level = window_statistics(past, normalize)
    torch.testing.assert_close(denormalize_values(normalize_values(past, level), level), past)


def test_levels_are_those_of_the_window():
    past = 5 + 3 * torch.randn(B, C, L)
    inside = normalize_values(past, window_statistics(past, "revin"))
    torch.testing.assert_close(inside.mean(-1), torch.zeros(B, C), atol=1e-5, rtol=0)
    torch.testing.assert_close(inside.std(-1, correction=0), torch.ones(B, C), atol=1e-3, rtol=0)
    assert torch.isfinite(
        normalize_values(torch.ones(1, 1, 4), window_statistics(torch.ones(1, 1, 4), "revin"))
    ).all()
    with pytest.raises(ValueError, match="normalize must be one of"):
        window_statistics(past, "median")


@pytest.mark.parametrize("normalize", ["last", "mean", "revin"])
@pytest.mark.parametrize("name", LEARNING)
def test_a_series_on_another_level_is_forecast_alike(name, normalize):
    torch.manual_seed(0)
    model = Forecaster(LEARNING[name](SIZES._replace(normalize=normalize))).eval()
    past, clock = torch.randn(B, L, C), torch.arange(B)
    with torch.no_grad():
        torch.testing.assert_close(model(past + 7, clock), model(past, clock) + 7, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", LEARNING)
def test_variables_and_batch_items_do_not_see_each_other_and_all_weights_learn(name):
    model = Forecaster(LEARNING[name](SIZES._replace(quantiles=3))).eval()
    past, clock = torch.randn(B, L, C), torch.arange(B)
    forecast = model(past, clock)
    assert forecast.shape == (B, H, C, 3)
    assert (forecast.diff(dim=-1) >= 0).all()
    changed = past.clone()
    changed[1, :, 2] = 0
    other = model(changed, clock)
    same = torch.ones(B, C, dtype=torch.bool)
    same[1, 2] = False
    torch.testing.assert_close(other.transpose(1, 2)[same], forecast.transpose(1, 2)[same])
    assert not torch.allclose(other[1, :, 2], forecast[1, :, 2])
    forecast.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_cycle_is_read_at_the_clock():
    backbone = CycleLinear(SIZES, period=5)
    with torch.no_grad():
        backbone.cycle.copy_(torch.arange(15.0).view(5, 3))
        backbone.linear.weight.zero_()
    forecast = backbone(torch.zeros(2, C, L), torch.tensor([0, 7]))
    assert forecast[0, 0].tolist() == [0, 3, 6, 9, 12, 0]
    assert forecast[1, 1].tolist() == [7, 10, 13, 1, 4, 7]


def test_a_seasonal_naive_forecast_repeats_the_last_season():
    model = Forecaster(SeasonalNaive(SIZES._replace(normalize="none"), period=4))
    past = torch.randn(B, L, C)
    expected = past[:, [-4, -3, -2, -1, -4, -3]]
    torch.testing.assert_close(model(past, torch.zeros(B, dtype=torch.int64)).squeeze(-1), expected)
    for options in ({"sizes": SIZES, "period": L + 1}, {"sizes": SIZES._replace(quantiles=9)}):
        with pytest.raises(ValueError, match=r"period must be|no quantiles"):
            SeasonalNaive(**options)


@pytest.mark.parametrize("integration", [Concatenation, Parallel])
@pytest.mark.parametrize("name", TAKING_A_MEMORY)
def test_a_learned_memory_leaves_the_backbone_as_it_was_until_it_learns(name, integration):
    torch.manual_seed(0)
    backbone = LEARNING[name](SIZES)
    past, clock = torch.randn(B, L, C), torch.arange(B)
    plain = Forecaster(backbone).eval()(past, clock)
    memory = PrototypeMemory(8, VectorStorage(4, 4, slots=5), prototypes=5)
    model = Forecaster(backbone, memory=lambda width: memory, integration=integration).eval()
    torch.testing.assert_close(model(past, clock), plain)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(past, clock).square().mean().backward()
        optimizer.step()
    assert memory.keys.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="no part that takes a memory"):
        Forecaster(SeasonalNaive(SIZES), memory=lambda width: memory)


def test_arguments_out_of_range_are_named():
    for make in (
        lambda: DLinear(SIZES, 4),
        lambda: CycleLinear(SIZES, 0),
        lambda: PatchTransformer(SIZES, patch=99),
    ):
        with pytest.raises(ValueError, match="must be"):
            make()
