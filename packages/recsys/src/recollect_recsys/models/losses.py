"""Cross-entropy over the catalogue, all of it or a sample."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def full_softmax_loss(states: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """Mean of −log softmax(E h + b)[target].

    Full softmax rather than a sampled or pairwise loss is what makes these models strong (Klenitskiy &
    Vasilev 2023, arXiv:2309.07602).

    Args:
        states: ``(n, D)``.
        weight: ``(I, D)`` item vectors E.
        bias: ``(I,)``.
        target: ``(n,)`` int64.
    """
    return F.cross_entropy(F.linear(states, weight, bias), target)


def sampled_softmax_loss(
    states: Tensor, weight: Tensor, bias: Tensor, target: Tensor, negatives: Tensor
) -> Tensor:
    """The same with the sum over all items estimated from items drawn evenly, the same for all n.

    −log(e^{s_y} / (e^{s_y} + (I − 1) · mean e^{s_j})) over the negatives j that are not y (sampled softmax,
    Jean et al. 2015, arXiv:1412.2007, with an even proposal): the sum is unbiased.

    Args:
        states: ``(n, D)``.
        weight: ``(I, D)`` item vectors E.
        bias: ``(I,)``.
        target: ``(n,)`` int64.
        negatives: ``(m,)`` int64.
    """
    positive = (states * weight[target]).sum(-1) + bias[target]
    scores = F.linear(states, weight[negatives], bias[negatives])
    hit = negatives == target.unsqueeze(-1)
    scores = scores.masked_fill(hit, -torch.inf)
    others = torch.logsumexp(scores, -1) + math.log(max(len(weight) - 1, 1))
    others = others - (~hit).sum(-1).clamp_min(1).log()
    return (torch.logaddexp(positive, others) - positive).mean()
