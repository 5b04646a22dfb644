"""Cross-entropy over all items, and its estimate from a sample."""

import torch

from recollect_recsys.models.losses import full_softmax_loss, sampled_softmax_loss


def parts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(5, 4), torch.randn(30, 4), torch.randn(30), torch.randint(30, (5,))


def test_the_full_loss_is_cross_entropy_by_hand() -> None:
    states, weight, bias, target = parts()
    scores = states @ weight.T + bias
    by_hand = -(scores.softmax(-1)[torch.arange(5), target]).log().mean()
    torch.testing.assert_close(full_softmax_loss(states, weight, bias, target), by_hand)


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
