"""Base class of sequential backbones."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Maps item vectors of a session to states, causally.

    Args:
        size: Width D of items and states.
        steps: Longest session; unbounded by default.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(self, size: int, steps: int | None = None) -> None:
        super().__init__()
        if size < 1 or (steps is not None and steps < 1):
            raise ValueError(f"size and steps must be at least 1, got {size} and {steps}")
        self.size = size
        self.steps = steps

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` → ``(B, T, D)``; step t depends on steps up to t alone."""
