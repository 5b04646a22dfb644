"""A linear layer that is fitted to a few labelled examples: the few-shot baseline without a memory."""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@final
class LinearHead(nn.Module):
    """p(c | x) = softmax(W x̂)_c, W fitted to the labelled examples by gradient descent, x̂ = x / ‖x‖.

    The baseline of Chen et al. (2019, arXiv:1904.04232, section 3.2): features are frozen, and
    each support set gets its own layer. W starts at zero and minimises cross-entropy + decay · ‖W‖² / 2 by
    gradient descent with momentum.

    Args:
        steps: Gradient steps.
        learning_rate: Learning rate.
        decay: Weight decay.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> head = LinearHead(steps=20)
        >>> examples, labels = torch.eye(3), torch.tensor([2, 0, 1])
        >>> head(examples, labels, examples, classes=3).argmax(-1).tolist()
        [2, 0, 1]
    """

    def __init__(self, steps: int = 100, learning_rate: float = 10.0, decay: float = 1e-3) -> None:
        super().__init__()
        if steps < 1 or learning_rate <= 0 or decay < 0:
            raise ValueError(f"steps {steps}, learning_rate {learning_rate} or decay {decay} is out of range")
        self.steps = steps
        self.learning_rate = learning_rate
        self.decay = decay

    def forward(self, examples: Tensor, labels: Tensor, queries: Tensor, classes: int) -> Tensor:
        """Fit the layer to the examples and classify the queries.

        Args:
            examples: ``(…, W, D)``.
            labels: ``(…, W)`` int64, below C.
            queries: ``(…, Q, D)``.
            classes: C.

        Returns:
            log p ``(…, Q, C)``.
        """
        with torch.autocast(queries.device.type, enabled=False):
            examples, queries = (F.normalize(x.float(), dim=-1) for x in (examples, queries))
            truth = F.one_hot(labels, classes).to(examples.dtype)
            weight = examples.new_zeros(*examples.shape[:-2], classes, examples.shape[-1])
            velocity = torch.zeros_like(weight)
            for _ in range(self.steps):
                # Closed-form gradient of the mean cross-entropy: it works under no_grad, too.
                error = (examples @ weight.mT).softmax(-1) - truth
                gradient = error.mT @ examples / examples.shape[-2] + self.decay * weight
                velocity = 0.9 * velocity + gradient
                weight = weight - self.learning_rate * velocity
            return (queries @ weight.mT).log_softmax(-1)
