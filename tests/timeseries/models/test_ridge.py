"""Closed-form solutions are the optimum of what they say they minimise."""

import pytest
import torch

from recollect_timeseries.models.ridge import (
    Example,
    Penalty,
    individual_maps,
    mean_squared_errors,
    second_moments,
    shared_maps,
)

C, F, H = 3, 6, 2
PENALTY = Penalty(torch.linspace(0.1, 0.5, F), torch.tensor([False, False, False, False, True, True]))


def example(count=200):
    torch.manual_seed(0)
    inputs = torch.randn(C, count, F).double()
    return Example(inputs, inputs @ torch.randn(C, F, H).double() + 0.1 * torch.randn(C, count, H))


def squares(example, maps):
    return (example.inputs @ maps - example.outputs).square().sum(-1).mean(-1)


def test_moments_of_parts_are_those_of_the_whole():
    x, y = example()
    whole, parts = (
        second_moments([Example(x, y)]),
        second_moments([Example(x[:, :50], y[:, :50]), Example(x[:, 50:], y[:, 50:])]),
    )
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        whole.only(torch.tensor([0, 2])), second_moments([Example(x[..., [0, 2]], y)]), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_shared_maps_are_one_but_for_what_each_variable_keeps_and_have_no_gradient():
    made, factor = example(), 0.7
    maps = shared_maps(second_moments([made]), PENALTY, factor)
    shared, individual = ~PENALTY.individual, PENALTY.individual
    assert torch.equal(maps[0, shared], maps[1, shared])
    assert not torch.allclose(maps[0, individual], maps[1, individual])
    together, apart = maps[:1, shared].requires_grad_(), maps[:, individual].requires_grad_()
    whole = torch.cat([together.expand(C, -1, -1), apart], 1)
    shape = PENALTY.shape.double().unsqueeze(-1)
    penalised = (
        squares(made, whole).mean()
        + factor * (shape[shared] * together.square()).sum()
        + (shape[individual] * apart.square()).sum() / C
    )
    penalised.backward()
    assert max(together.grad.abs().max(), apart.grad.abs().max()) < 1e-6


def test_own_maps_are_drawn_to_the_shared_ones_and_have_no_gradient():
    made, factor = example(), 0.7
    moments = second_moments([made])
    prior = shared_maps(moments, PENALTY, 1.0)
    maps = individual_maps(moments, PENALTY, factor, prior).requires_grad_()
    shape = PENALTY.shape.double()
    shared, individual = ~PENALTY.individual, PENALTY.individual
    away = (shape[shared].unsqueeze(-1) * (maps - prior)[:, shared].square()).sum((1, 2))
    kept = (shape[individual].unsqueeze(-1) * maps[:, individual].square()).sum((1, 2))
    (squares(made, maps) + factor * away + kept).sum().backward()
    assert maps.grad.abs().max() < 1e-6
    far = individual_maps(moments, PENALTY, 1e9, prior)
    torch.testing.assert_close(far[:, shared], prior[:, shared], rtol=1e-4, atol=1e-4)


def test_the_error_is_that_of_the_forecasts():
    made = example()
    moments = second_moments([made])
    maps = shared_maps(moments, PENALTY, 1.0)
    errors = mean_squared_errors(maps, moments)
    assert errors.tolist() == pytest.approx((squares(made, maps) / H).tolist(), rel=1e-5)


def test_without_anything_to_keep_there_is_one_map():
    made = example()
    maps = shared_maps(second_moments([made]), Penalty(PENALTY.shape, torch.zeros(F, dtype=torch.bool)), 1e-6)
    pooled = torch.linalg.lstsq(made.inputs.flatten(0, 1), made.outputs.flatten(0, 1)).solution
    torch.testing.assert_close(maps, pooled.expand(C, -1, -1), rtol=1e-4, atol=1e-4)
