"""Cross-entropy over the catalogue, all of it or a sample."""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

MAX_SCORES = 2**20
"""Number of scores in memory at once: 4 MiB of float32, which fits a CPU cache."""


class ExcludedItems(NamedTuple):
    """Items excluded from the softmax because they were seen before.

    Attributes:
        seen: ``(B, S)`` int64, each user's items in order, numbered as the rows of the weight.
        user: ``(n,)`` int64, user of each state.
        known: ``(n,)`` int64, number of items the user had seen by then.
    """

    seen: Tensor
    user: Tensor
    known: Tensor


def full_softmax_loss(
    states: Tensor, weight: Tensor, bias: Tensor, target: Tensor, excluded: ExcludedItems | None = None
) -> Tensor:
    """Mean of −log softmax(E h + b)[target], over all items but the excluded ones.

    Full softmax rather than a sampled or pairwise loss is what makes these models strong (Klenitskiy &
    Vasilev 2023, arXiv:2309.07602). Where lists leave out what was seen, the probabilities are learned as
    they will be used: a model that likes what resembles the items seen must not be punished for liking those
    very items. Scores are computed, and their gradient taken, a few rows at a time, and never kept.

    Args:
        states: ``(n, D)``.
        weight: ``(I, D)`` item vectors E.
        bias: ``(I,)``.
        target: ``(n,)`` int64.
        excluded: Items to leave out of the sum; the target itself is always kept.

    Example:
        >>> h, weight, target = torch.ones(1, 1), torch.zeros(4, 1), torch.tensor([2])
        >>> round(full_softmax_loss(h, weight, torch.zeros(4), target).exp().item(), 4)  # one of four
        4.0
        >>> excluded = ExcludedItems(torch.tensor([[0, 1, 3]]), torch.tensor([0]), torch.tensor([2]))
        >>> round(full_softmax_loss(h, weight, torch.zeros(4), target, excluded).exp().item(), 4)  # of two
        2.0
    """
    parts = (None, None, None) if excluded is None else excluded
    loss: Tensor = _Softmax.apply(states, weight, bias, target, *parts, torch.is_grad_enabled())
    return loss


class _Softmax(torch.autograd.Function):
    """The loss with its gradient, which is had most cheaply while the scores are there."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor,
        target: Tensor,
        seen: Tensor | None,
        user: Tensor | None,
        count: Tensor | None,
        learn: bool,
    ) -> Tensor:
        """See ``full_softmax_loss``; ``fit`` is whether there will be a gradient."""
        ctx.dtype = states.dtype
        with torch.autocast(states.device.type, enabled=False):
            states = states.to(weight.dtype)
            total = weight.new_zeros(())
            grads = [torch.zeros_like(part) for part in (states, weight, bias)] if learn else []
            size = max(MAX_SCORES // len(weight), 1)
            for start in range(0, len(states), size):
                rows = slice(start, start + size)
                scores = torch.addmm(bias, states[rows], weight.T)
                if seen is not None and user is not None and count is not None:
                    _exclude(scores, target[rows], seen[user[rows]], count[rows])
                total += _log_softmax_(scores, target[rows]).sum()
                if learn:
                    torch.mm(scores, weight, out=grads[0][rows])
                    grads[1].addmm_(scores.T, states[rows])
                    grads[2] += scores.sum(0)
        ctx.save_for_backward(*grads)
        ctx.rows = max(len(states), 1)
        mean: Tensor = total / ctx.rows
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of states, weight and bias."""
        states, weight, bias = (part * (grad / ctx.rows) for part in ctx.saved_tensors)
        return states.to(ctx.dtype), weight, bias, None, None, None, None, None


def _exclude(scores: Tensor, target: Tensor, seen: Tensor, count: Tensor) -> None:
    """Put −∞ in the place of the first ``count`` items ``seen`` ``(n, S)``, but not of the target."""
    target = target.unsqueeze(1)
    own = scores.gather(1, target)
    before = torch.arange(seen.shape[1], device=seen.device) < count.unsqueeze(1)
    # What was not seen by then is pointed at the target, whose score is put back.
    scores.scatter_(1, torch.where(before, seen, target), -torch.inf).scatter_(1, target, own)


def _log_softmax_(scores: Tensor, target: Tensor) -> Tensor:
    """−log softmax of the targets ``(n, 1)``; ``scores`` become its gradient, softmax − one-hot, in place."""
    target = target.unsqueeze(1)
    own = scores.gather(1, target)
    highest = scores.amax(1, keepdim=True)
    total = scores.sub_(highest).exp_().sum(1, keepdim=True)
    scores.div_(total).scatter_add_(1, target, torch.full_like(own, -1))
    return total.log() + highest - own


def sampled_softmax_loss(
    states: Tensor, weight: Tensor, bias: Tensor, target: Tensor, negatives: Tensor
) -> Tensor:
    """The same with the sum over all items estimated from items drawn evenly, the same for all n.

    −log(e^{s_y} / (e^{s_y} + (I − 1) · mean e^{s_j})) over the negatives j that are not y (sampled softmax,
    Jean et al. 2015, arXiv:1412.2007, with an even proposal): the sum is unbiased. No item is excluded.

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
