"""The solved model: its maps do what the solution says, and are chosen by what helps in every fold."""

import pytest
import torch

from recollect_timeseries.models.backbone import ForecasterSizes
from recollect_timeseries.models.forecasting import Forecaster
from recollect_timeseries.models.linear import CycleLinear
from recollect_timeseries.models.linear_maps import LinearMaps
from recollect_timeseries.models.ridge import second_moments
from recollect_timeseries.models.ridge_selection import Choice, Fold, RidgeSearch, examples, select_ridge
from recollect_timeseries.models.window_memory import WindowMemory

L, H, C, STEPS = 8, 3, 2, 400


def made(**options):
    """Two noisy oscillations, each of its own law."""
    torch.manual_seed(0)
    rates = torch.tensor([0.5, 1.3])
    values = torch.sin(torch.arange(float(STEPS)).unsqueeze(-1) * rates) + 0.1 * torch.randn(STEPS, C)
    sizes = ForecasterSizes(L, H, C, steps=300, **options)
    return values, sizes


def fold(model, values, train, val):
    def of(clocks):
        past = torch.stack([values[t - L : t] for t in clocks.tolist()])
        future = torch.stack([values[t : t + H] for t in clocks.tolist()])
        return second_moments([examples(model, past, future, clocks, model.futures(past, clocks, None))])

    return Fold(of(train), of(val))


def folds(model, values):
    early = fold(model, values, torch.arange(L, 200), torch.arange(203, 297))
    return [early, fold(model, values, torch.arange(L, 297), torch.arange(300, STEPS - H))]


@pytest.mark.parametrize("uses_memory", [False, True])
@pytest.mark.parametrize("quantiles", [1, 3])
def test_the_solved_model_forecasts_what_the_solution_says(uses_memory, quantiles):
    values, sizes = made(quantiles=quantiles)
    windows = WindowMemory(sizes, periods=[1, 2], neighbours=3) if uses_memory else None
    model = Forecaster(LinearMaps(sizes, period=24, harmonics=2), windows)
    if windows is not None:
        windows.fit(values[:300])
    choices = select_ridge(model, folds(model, values), RidgeSearch(shared=[1e-3, 10.0], individual=[1e-2]))
    clocks = torch.arange(300, STEPS - H)
    past = torch.stack([values[t - L : t] for t in clocks.tolist()])
    future = torch.stack([values[t : t + H] for t in clocks.tolist()])
    errors = (model(past, clocks) - future.unsqueeze(-1)).square().mean((0, 1, 3))
    assert errors.log().tolist() == pytest.approx([c.scores[-1].item() for c in choices], rel=1e-3)
    assert errors.mean() < 0.1
    for c, choice in enumerate(choices):
        for part in [] if windows is None else windows.out_proj:
            assert bool(part.weight[c].any()) == choice.uses_memory


@pytest.mark.parametrize("individual", [[], [1e-3]])
def test_variables_with_laws_of_their_own_get_maps_of_their_own_where_these_are_tried(individual):
    values, sizes = made()
    model = Forecaster(LinearMaps(sizes))
    choices = select_ridge(model, folds(model, values), RidgeSearch(shared=[1e-3], individual=individual))
    maps = model.backbone.maps.weight
    assert [choice.individual for choice in choices] == [bool(individual)] * C
    assert torch.equal(maps[0], maps[1]) == (not individual)


def test_an_own_map_must_be_better_in_each_fold_and_a_shared_one_on_average():
    shared = Choice(False, 1.0, False, torch.tensor([0.0, 0.0]))
    mixed, better = torch.tensor([-1.0, 0.1]), torch.tensor([-0.2, -0.1])
    assert shared._replace(scores=mixed).beats(shared)
    for change in ({"individual": True}, {"uses_memory": True}):
        assert not shared._replace(scores=mixed, **change).beats(shared)
        assert shared._replace(scores=better, **change).beats(shared)


def test_what_cannot_be_solved_is_named():
    values, sizes = made()
    model = Forecaster(CycleLinear(sizes))
    with pytest.raises(TypeError, match="CycleLinear has no linear maps"):
        folds(model, values)
    for options in ({"shared": []}, {"individual": [-1.0]}, {"earlier_fold": 1.0}):
        with pytest.raises(ValueError, match="must be"):
            RidgeSearch(**options)
