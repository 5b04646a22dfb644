"""The weight of a memory in a mixture that is best on validation data."""

import torch
from torch import Tensor

STEPS = 50
"""Halvings of the interval of λ: its width is then below 1e-15."""


def best_mixture_weight(log_model: Tensor, memory: Tensor) -> Tensor:
    """λ in [0, 1] that minimises −mean log((1 − λ) p_model + λ p_memory), by bisection of its derivative.

    The loss is convex in λ, so that the minimum is where the derivative changes its sign, or at an end. One
    more output counts for which the memory is certainly wrong (the rule of succession), since a memory that
    was right n times may be wrong the next time.

    Args:
        log_model: ``(n,)``, log p_model of the true class.
        memory: ``(…, n)``, p_memory of the true class.

    Returns:
        ``(…,)`` float64.

    Example:
        >>> log_model = torch.tensor([0.01, 0.01, 0.01]).log()
        >>> best_mixture_weight(log_model, torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])).round(decimals=2)
        tensor([0.7500, 0.0000], dtype=torch.float64)
    """
    # Relative to p_model, which may be too small a number: r = p_memory / p_model.
    excess = torch.expm1((memory.double().log() - log_model.double()).clamp(max=700))
    excess = torch.cat([excess, -torch.ones_like(excess[..., :1])], -1)
    low, high = torch.zeros_like(excess[..., 0]), torch.ones_like(excess[..., 0])
    for _ in range(STEPS):
        weight = (low + high) / 2
        slope = (excess / (1 + weight.unsqueeze(-1) * excess)).mean(-1)
        low, high = torch.where(slope > 0, weight, low), torch.where(slope > 0, high, weight)
    return torch.where(excess.mean(-1) > 0, (low + high) / 2, 0.0)


def mixture_loss(log_model: Tensor, memory: Tensor, weight: Tensor) -> Tensor:
    """−log((1 − λ) p_model + λ p_memory) of the true class of each of n outputs.

    Args:
        log_model: ``(n,)``.
        memory: ``(…, n)``.
        weight: λ ``(…, 1)`` or ``(…, n)``.
    """
    ratio = torch.expm1((memory.double().log() - log_model.double()).clamp(max=700))
    return -log_model.double() - torch.log1p(weight.clamp(max=1 - 1e-6) * ratio)


def best_value_weight(error: Tensor, change: Tensor) -> Tensor:
    """λ in [0, 1] that minimises mean ‖e − λ d‖²: ⟨e, d⟩ / ⟨d, d⟩, clipped.

    Args:
        error: e = y − h ``(n, V)``, what the layer misses of the target.
        change: d = v − h ``(…, n, V)``, the way from the layer's output to the memory's.

    Returns:
        ``(…,)`` float64.
    """
    error, change = error.double(), change.double()
    along = (error * change).sum((-2, -1))
    return (along / change.square().sum((-2, -1)).clamp_min(torch.finfo(torch.float64).tiny)).clamp(0, 1)
