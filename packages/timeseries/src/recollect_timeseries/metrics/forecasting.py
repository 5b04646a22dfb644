"""Metrics of quantile forecasts."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor
from torchmetrics import Metric


def pinball_loss(forecast: Tensor, truth: Tensor, levels: Tensor) -> Tensor:
    """max(τ (y − q_τ), (τ − 1)(y − q_τ)), elementwise (Koenker & Bassett 1978, Econometrica 46).

    Args:
        forecast: ``(…, Q)`` quantiles.
        truth: ``(…)``.
        levels: ``(Q,)`` in (0, 1).

    Example:
        >>> pinball_loss(torch.tensor([1.0, 3.0]), torch.tensor(2.0), torch.tensor([0.1, 0.9]))
        tensor([0.1000, 0.1000])
    """
    error = truth.unsqueeze(-1) - forecast
    return torch.maximum(levels * error, (levels - 1) * error)


@final
class Crps(Metric):
    """Continuous ranked probability score, as twice the mean pinball loss over quantile levels.

    CRPS(F, y) = 2 ∫ pinball_τ(F⁻¹(τ), y) dτ (Gneiting & Ranjan 2011, eq. 2); with few levels this is an
    approximation, the same that GluonTS and others report.

    Args:
        levels: The Q levels.

    Example:
        >>> score = Crps([0.5])
        >>> score(torch.tensor([[1.0]]), torch.tensor([3.0]))  # of the median alone: the absolute error
        tensor(2.)
    """

    full_state_update = False
    levels: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, levels: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.register_buffer("levels", torch.tensor(list(levels)), persistent=False)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, forecast: Tensor, truth: Tensor) -> None:
        """Add quantiles ``(…, Q)`` and true values ``(…)``."""
        loss = pinball_loss(forecast, truth, self.levels)
        self.total += 2 * loss.mean(-1).sum()
        self.count += truth.numel()

    def compute(self) -> Tensor:
        """Return the mean over all values."""
        return (self.total / self.count).float()


@final
class Coverage(Metric):
    """Share of values between two quantiles, bounds included: ideally the difference of their levels.

    Example:
        >>> coverage = Coverage()
        >>> coverage(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0]), torch.tensor([0.5, 2.0]))
        tensor(0.5000)
    """

    full_state_update = False
    within: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("within", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, lower: Tensor, upper: Tensor, truth: Tensor) -> None:
        """Add three tensors of the same shape."""
        self.within += ((lower <= truth) & (truth <= upper)).sum()
        self.count += truth.numel()

    def compute(self) -> Tensor:
        """Return the share."""
        return self.within / self.count
