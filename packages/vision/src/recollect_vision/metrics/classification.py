"""Calibration of a classifier's probabilities."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15
"""Of the expected calibration error."""


class Calibration(NamedTuple):
    """How right the probabilities of N images are.

    Attributes:
        source: Whose probabilities.
        accuracy: Share of the images whose likeliest class is the true one.
        ece: Expected calibration error, in bins of equal width.
        loss: Mean of −log p of the true class, in nats.
    """

    source: str
    accuracy: float
    ece: float
    loss: float


def fit_temperature(logits: Tensor, label: Tensor) -> float:
    """The T > 0 for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017, section 4.2).

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
    descent = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        descent.zero_grad()
        loss = F.cross_entropy(logits / log_temperature.exp(), label)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        descent.step(step)  # type: ignore[no-untyped-call]
    return float(log_temperature.detach().exp())


def calibration(source: str, probability: Tensor, label: Tensor) -> Calibration:
    """Figures of ``probability`` ``(N, C)``, ``label`` ``(N,)`` being the truth."""
    return Calibration(
        source,
        float((probability.argmax(1) == label).float().mean()),
        float(multiclass_calibration_error(probability, label, probability.shape[1], n_bins=BINS)),
        float(negative_log_likelihood(probability, label)),
    )


def negative_log_likelihood(probability: Tensor, label: Tensor) -> Tensor:
    """Mean of −log p, in nats, of the true classes ``(B,)``; p is ``(B, C)``, and 0 counts as almost 0."""
    right = probability.gather(1, label.unsqueeze(1))
    return -right.clamp_min(torch.finfo(right.dtype).tiny).log().mean()
