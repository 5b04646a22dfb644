"""Closed-form solutions: they are the optimum, and they land in the model."""

import pytest
import torch

from recollect_timeseries.models.backbone import Sizes
from recollect_timeseries.models.forecaster import Forecaster
from recollect_timeseries.models.linear import CycleLinear, DLinear, Linear
from recollect_timeseries.models.ridge import Example, examples, mean_squared_error, moments, ridge, solve
from recollect_timeseries.models.window_memory import WindowMemory

L, H, C = 8, 3, 2


def example(count=200):
    torch.manual_seed(0)
    inputs = torch.cat([torch.randn(count, L), torch.ones(count, 1)], 1).double()
    return Example(inputs, inputs @ torch.randn(L + 1, H).double() + 0.1 * torch.randn(count, H))


def test_moments_of_parts_are_those_of_the_whole():
    x, y = example()
    whole, parts = moments([Example(x, y)]), moments([Example(x[:50], y[:50]), Example(x[50:], y[50:])])
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_solution_has_no_gradient_and_the_error_is_that_of_its_forecasts():
    x, y = example()
    over = moments([Example(x, y)])
    penalty = torch.full((L + 1,), 0.1, dtype=torch.float64)
    weights = ridge(over, penalty).requires_grad_()
    error = (x @ weights - y).square().sum(1).mean()
    (error + (penalty @ weights.square()).sum()).backward()
    assert weights.grad.abs().max() < 1e-6
    assert mean_squared_error(weights.detach(), over) == pytest.approx(error.item() / H, rel=1e-5)


def batch(values, clocks):
    past = torch.stack([values[t - L : t] for t in clocks.tolist()])
    future = torch.stack([values[t : t + H] for t in clocks.tolist()])
    return past, future


@pytest.mark.parametrize("recalling", [False, True])
@pytest.mark.parametrize("quantiles", [1, 3])
def test_the_solved_model_forecasts_what_the_solution_says(recalling, quantiles):
    torch.manual_seed(0)
    values = torch.sin(torch.arange(200.0).unsqueeze(-1) / torch.tensor([3.0, 4.0])) + 0.1 * torch.randn(
        200, C
    )
    sizes = Sizes(L, H, C, quantiles=quantiles, steps=160)
    windows = WindowMemory(sizes, periods=[1, 2], neighbours=3) if recalling else None
    model = Forecaster(Linear(sizes), windows)
    if windows is not None:
        windows.remember(values[:160])
    train, val = torch.arange(L, 150), torch.arange(160, 190)

    def of(clocks):
        past, future = batch(values, clocks)
        return [examples(model, past, future, model.futures(past, clocks, None))]

    solution = solve(model, lambda: of(train), lambda: of(val), [1e-3, 1e-1, 10.0])
    past, future = batch(values, val)
    forecast = model(past, val)
    assert solution.penalty < 10
    error = (forecast - future.unsqueeze(-1)).square().mean()
    assert error.item() == pytest.approx(solution.error, rel=1e-3)
    if recalling:
        assert all(part.weight.abs().sum() > 0 for part in windows.fuse)


@pytest.mark.parametrize("backbone", [DLinear, CycleLinear])
def test_the_penalty_goes_with_the_one_linear_map(backbone):
    model = Forecaster(backbone(Sizes(L, H, C)))
    assert (model.linear is None) == (backbone is DLinear)
    if model.linear is None:
        with pytest.raises(ValueError, match="DLinear has no linear map"):
            solve(model, lambda: [example()], lambda: [example()], [1.0])
