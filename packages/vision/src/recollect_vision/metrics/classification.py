"""Calibration of a classifier's probabilities."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15
"""Bins of the expected calibration error."""


class Calibration(NamedTuple):
    """Accuracy and calibration of predicted probabilities.

    Attributes:
        source: Name of the model that predicts them.
        accuracy: Fraction of images whose most probable class is the true one.
        ece: Expected calibration error, in bins of equal width.
        loss: Mean of −log p of the true class, in nats.
    """

    source: str
    accuracy: float
    ece: float
    loss: float


def fit_temperature(logits: Tensor, label: Tensor) -> float:
    """Return the T > 0 that minimises the cross-entropy of softmax(logits / T).

    Temperature scaling of Guo et al. 2017 (arXiv:1706.04599, section 4.2).

    Args:
        logits: ``(N, C)``.
        label: ``(N,)`` int64.

    Example:
        >>> logits = torch.tensor([[9.0, 0.0], [9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 0])), 2)  # 3 of 4 are right
        8.19
    """
    logits = logits.double()
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / log_temperature.exp(), label)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(step)  # type: ignore[no-untyped-call]
    return float(log_temperature.detach().exp())


def calibration(source: str, probability: Tensor, label: Tensor) -> Calibration:
    """Measure ``probability`` ``(N, C)`` against the true classes ``label`` ``(N,)``."""
    return Calibration(
        source,
        float((probability.argmax(1) == label).float().mean()),
        float(multiclass_calibration_error(probability, label, probability.shape[1], n_bins=BINS)),
        float(negative_log_likelihood(probability, label)),
    )


def negative_log_likelihood(probability: Tensor, label: Tensor) -> Tensor:
    """Return the mean −log p, in nats, of the true classes ``(B,)``; p ``(B, C)`` is clamped above 0."""
    right = probability.gather(1, label.unsqueeze(1))
    return -right.clamp_min(torch.finfo(right.dtype).tiny).log().mean()
