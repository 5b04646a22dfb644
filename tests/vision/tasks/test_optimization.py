"""Biases of normalisation learn faster, and the schedule keeps that so."""

import pytest
import torch
from torch import nn

from recollect_vision.tasks.optimization import BIASES, FastBiasSGD, TriangularLR, group_biases


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_every_parameter_that_learns_is_in_one_group():
    model = network()
    model[1].weight.requires_grad_(False)
    rest, biases = group_biases(model, model)
    assert [id(p) for p in biases["params"]] == [id(model[1].bias)]
    assert {id(p) for p in rest["params"]} == {id(p) for n, p in model.named_parameters() if n[:2] != "1."}


def test_normalisation_outside_is_as_all_else_and_no_group_is_empty():
    model = network()
    (group,) = group_biases(model, model[0])
    assert len(group["params"]) == 6
    assert group[BIASES] is False
    assert group_biases(nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, affine=False)) == []


def test_to_another_optimizer_the_groups_are_alike():
    one, other = network(), network()
    images = torch.randn(5, 3, 3, 3)
    plain = torch.optim.SGD(one.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    grouped = torch.optim.SGD(group_biases(other, other), lr=0.1, momentum=0.9, weight_decay=0.01)
    for model, optimizer in ((one, plain), (other, grouped)):
        for _ in range(3):
            optimizer.zero_grad()
            model(images).square().sum().backward()
            optimizer.step()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_bias_moves_bias_rate_times_as_far_and_decays_as_much():
    model = network()
    optimizer = FastBiasSGD(group_biases(model, model), lr=0.1, bias_rate=8.0, momentum=0.0, nesterov=False)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        far = 0.8 if name == "1.bias" else 0.1
        torch.testing.assert_close(before[name] - value, torch.full_like(value, far))
    decaying = FastBiasSGD(group_biases(model, model), lr=0.1, bias_rate=8.0, weight_decay=0.5)
    assert [group["lr"] * group["weight_decay"] for group in decaying.param_groups] == [0.05, 0.05]


def test_the_schedule_keeps_the_ratio_of_the_rates():
    model = network()
    optimizer = FastBiasSGD(group_biases(model, model), lr=0.5, bias_rate=64.0)
    schedule = TriangularLR(optimizer, total_steps=10, start=0.2, peak=0.5, end=0.1)
    rates = []
    for _ in range(12):
        weights, biases = (group["lr"] for group in optimizer.param_groups)
        assert biases == pytest.approx(64 * weights)
        rates.append(weights)
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[5] == pytest.approx(0.5)
    assert rates[10] == rates[11] == pytest.approx(0.05)


def test_bad_arguments_are_named():
    model = network()
    with pytest.raises(ValueError, match="batch normalisation"):
        FastBiasSGD(model.parameters())
    with pytest.raises(ValueError, match="bias_rate"):
        FastBiasSGD(group_biases(model, model), bias_rate=0)
    for arguments in ({"total_steps": 0}, {"total_steps": 5, "peak": 1.0}):
        with pytest.raises(ValueError, match="total_steps must"):
            TriangularLR(torch.optim.SGD(model.parameters()), **arguments)
