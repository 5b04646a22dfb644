"""Cross-entropy over all items, and its estimate from a sample."""

import pytest
import torch
import torch.nn.functional as F

from recollect_recsys.models import sequential_losses
from recollect_recsys.models.sequential_losses import ExcludedItems, full_softmax_loss, sampled_softmax_loss


def parts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(5, 4), torch.randn(30, 4), torch.randn(30), torch.randint(30, (5,))


def test_the_full_loss_is_cross_entropy_by_hand() -> None:
    states, weight, bias, target = parts()
    scores = states @ weight.T + bias
    by_hand = -(scores.softmax(-1)[torch.arange(5), target]).log().mean()
    torch.testing.assert_close(full_softmax_loss(states, weight, bias, target), by_hand)


@pytest.mark.parametrize("at_once", [30, 60, 2**20])
@pytest.mark.parametrize("left_out", [False, True])
def test_loss_and_gradient_in_parts_are_those_of_the_whole(
    at_once: int, left_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequential_losses, "MAX_SCORES", at_once)
    *given, target = parts()
    seen = torch.tensor([[4, 9, 2, 7], [1, 0, 8, 8]])
    excluded = (
        ExcludedItems(seen, torch.tensor([0, 0, 1, 1, 0]), torch.tensor([0, 3, 1, 2, 4]))
        if left_out
        else None
    )
    target[1] = 9  # seen before, and yet the target
    one, other = ([part.clone().requires_grad_() for part in given] for _ in range(2))
    scores = F.linear(*one)
    if excluded is not None:
        away = torch.zeros_like(scores, dtype=torch.bool)
        for row, (user, count) in enumerate(zip(excluded.user, excluded.known, strict=True)):
            away[row, seen[user, :count]] = True
        away[torch.arange(5), target] = False
        scores = scores.masked_fill(away, -torch.inf)
    whole = F.cross_entropy(scores, target)
    loss = full_softmax_loss(*other, target, excluded)
    torch.testing.assert_close(loss, whole)
    for got, wanted in zip(
        torch.autograd.grad(3 * loss, other), torch.autograd.grad(3 * whole, one), strict=True
    ):
        torch.testing.assert_close(got, wanted)
    with torch.no_grad():
        torch.testing.assert_close(full_softmax_loss(*other, target, excluded), whole)


def test_with_every_item_drawn_the_estimate_is_the_full_loss() -> None:
    states, weight, bias, target = parts()
    every = torch.arange(30)
    torch.testing.assert_close(
        sampled_softmax_loss(states, weight, bias, target, every),
        full_softmax_loss(states, weight, bias, target),
    )


def test_a_sample_of_nothing_but_the_target_is_no_loss() -> None:
    states, weight, bias, _ = parts()
    target = torch.full((5,), 3)
    loss = sampled_softmax_loss(states, weight, bias, target, torch.tensor([3, 3]))
    torch.testing.assert_close(loss, torch.zeros(()))


def test_the_estimate_of_the_sum_is_unbiased() -> None:
    torch.manual_seed(0)
    states, weight, bias, target = parts()
    full = (states @ weight.T + bias).exp().sum(-1)
    own = (states @ weight.T + bias)[torch.arange(5), target].exp()
    draws = []
    for _ in range(400):
        loss = sampled_softmax_loss(states[:1], weight, bias, target[:1], torch.randint(30, (8,)))
        draws.append(loss.exp() * own[0])
    estimates = torch.stack(draws)
    error = estimates.std() / len(draws) ** 0.5
    assert (estimates.mean() - full[0]).abs() < 5 * error


def test_gradients_reach_target_and_sample_alone() -> None:
    states, weight, bias, target = parts()
    weight.requires_grad_()
    negatives = torch.tensor([1, 2])
    sampled_softmax_loss(states, weight, bias, target, negatives).backward()
    assert weight.grad is not None
    touched = set(torch.nonzero(weight.grad.abs().sum(1)).flatten().tolist())
    assert touched == {*target.tolist(), 1, 2}
