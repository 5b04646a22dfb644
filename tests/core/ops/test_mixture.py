"""Mixtures of predictions: exact, safe at their ends, and within the bound of the running one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recollect.ops.mixture import mix_logits, mix_values, running_weights
from recollect.ops.mixture_fit import best_mixture_weight, best_value_weight, mixture_loss


def random_mixture(seed, classes=7, rows=5):
    """Logits and a sparse probability."""
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(rows, classes, generator=generator)
    p = torch.rand(rows, classes, generator=generator) * (
        torch.rand(rows, classes, generator=generator) > 0.5
    )
    return logits, p / p.sum(-1, keepdim=True).clamp_min(1e-9)


@given(st.integers(0, 1000), st.floats(0.001, 0.999))
@settings(max_examples=30, deadline=None)
def test_mixed_logits_are_the_mixture(seed, weight):
    logits, p = random_mixture(seed)
    mixed = mix_logits(logits, p, torch.full((5,), weight))
    expected = (1 - weight) * logits.double().softmax(-1) + weight * p.double()
    normaliser = logits.double().logsumexp(-1, keepdim=True)
    assert torch.allclose((mixed.double() - normaliser).exp(), expected, rtol=1e-4, atol=1e-6)


def test_weight_zero_gives_the_logits_to_the_bit_and_a_gradient():
    logits, p = random_mixture(0)
    logits = logits / 5  # ratios beyond a million are clipped
    weight = torch.zeros(5, requires_grad=True)
    mixed = mix_logits(logits, p, weight)
    assert torch.equal(mixed, logits)
    loss = torch.nn.functional.cross_entropy(mixed, p.argmax(-1))
    (gradient,) = torch.autograd.grad(loss, weight)
    ratio = p.amax(-1) / logits.softmax(-1).gather(-1, p.argmax(-1, keepdim=True)).squeeze(-1)
    # d/dλ −log((1 − λ) p_model + λ p_memory) = 1 − p_memory / p_model
    assert torch.allclose(gradient, (1 - ratio) / 5, rtol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 1e-30, 0.5, 1.0])
def test_gradients_are_finite_at_the_ends(weight):
    logits = torch.tensor([[100.0, -100.0, 0.0], [0.0, 0.0, -torch.inf]], requires_grad=True)
    p = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    lam = torch.full((2,), weight, requires_grad=True)
    mixed = mix_logits(logits, p, lam)
    mixed[:, :2].sum().backward()
    assert logits.grad[:, :2].isfinite().all()
    assert lam.grad.isfinite().all()
    assert not mixed.isnan().any()


def test_mixed_values():
    value, memory = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    assert torch.equal(mix_values(value, memory, torch.tensor([0.0])), value)
    assert torch.equal(mix_values(value, memory, torch.tensor([0.5])), torch.tensor([[2.0, 2.0]]))


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 40, 200]), st.sampled_from([1e-3, 0.01, 0.2]))
@settings(max_examples=60, deadline=None)
def test_running_mixture_loses_at_most_its_bound(seed, steps, share):
    generator = torch.Generator().manual_seed(seed)
    model = torch.rand(steps, generator=generator).double() ** 3
    memory = torch.rand(steps, generator=generator).double() ** 3
    memory = memory * (torch.rand(steps, generator=generator) > 0.3)  # it is often certainly wrong
    ratio = memory.log() - model.log()
    weights, _ = running_weights(torch.cat([torch.zeros(1), ratio[:-1]]), torch.tensor(0.0), share)
    loss = -((1 - weights) * model + weights * memory).log().sum()
    best = min(-model.log().sum(), -memory.log().sum())
    assert loss <= best + math.log(2) - steps * math.log(1 - share) + 1e-6


def test_running_mixture_follows_a_switch():
    good, bad, steps, share = math.log(0.9), math.log(0.01), 50, 0.01
    model = torch.tensor([good] * steps + [bad] * steps).double()
    memory = torch.tensor([bad] * steps + [good] * steps).double()
    weights, _ = running_weights(torch.cat([torch.zeros(1), (memory - model)[:-1]]), torch.tensor(0.0), share)
    loss = -((1 - weights) * model.exp() + weights * memory.exp()).log().sum()
    best = -2 * steps * good
    assert loss <= best + math.log(2) - math.log(share) - 2 * steps * math.log(1 - share)


def test_running_weights_go_on_from_call_to_call():
    ratio = torch.randn(3, 20)
    whole, end = running_weights(ratio, torch.zeros(3), 0.01)
    first, odds = running_weights(ratio[:, :7], torch.zeros(3), 0.01)
    second, last = running_weights(ratio[:, 7:], odds, 0.01)
    assert torch.equal(torch.cat([first, second], -1), whole)
    assert torch.equal(end, last)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_best_weight_is_that_of_a_fine_grid(seed):
    generator = torch.Generator().manual_seed(seed)
    log_model = (torch.rand(30, generator=generator) + 1e-3).log()
    memory = torch.rand(30, generator=generator) * (torch.rand(30, generator=generator) > 0.5)
    weight = best_mixture_weight(log_model, memory)

    def total(weight):
        # One more output, for which the memory is wrong.
        return mixture_loss(log_model, memory, weight).sum(-1) - torch.log1p(-weight.squeeze(-1))

    grid = torch.linspace(0, 0.999, 2000, dtype=torch.float64).unsqueeze(-1)
    assert total(weight.reshape(1)) <= total(grid).min() + 1e-6


def test_best_value_weight():
    error, change = torch.tensor([[1.0], [1.0]]), torch.tensor([[2.0], [2.0]])
    assert best_value_weight(error, change) == 0.5
    assert best_value_weight(error, -change) == 0
    assert best_value_weight(error, 0 * change) == 0
