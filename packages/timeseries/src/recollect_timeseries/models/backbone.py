"""The contract of every network that forecasts: one variable at a time, all of them alike."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from recollect_timeseries.models.instance_norm import Normalize


class ForecasterSizes(NamedTuple):
    """What a backbone is made for.

    Attributes:
        lookback: Number L of steps looked back on.
        horizon: Number H of steps forecast.
        columns: Number C of variables.
        quantiles: Number Q of values forecast for each step: quantiles, or 1.
        steps: Number of steps of the training split.
        normalize: How each window's level is taken out.
    """

    lookback: int
    horizon: int
    columns: int
    quantiles: int = 1
    steps: int = 0
    normalize: Normalize = "last"


class Backbone(nn.Module, ABC):
    """Maps the past of each variable to its future; the same weights serve all variables.

    Args:
        sizes: What it is made for.
    """

    memory_at: str | None = None
    """Name of the part that takes a learned memory; ``None`` where there is none."""

    def __init__(self, sizes: ForecasterSizes) -> None:
        super().__init__()
        self.sizes = sizes

    @abstractmethod
    def forward(self, past: Tensor, clock: Tensor) -> Tensor:
        """Forecast.

        Args:
            past: ``(B, C, L)``, normalised.
            clock: ``(B,)`` int64, the first step that is forecast, in steps since training data began.

        Returns:
            ``(B, C, H · Q)``, step by step, its Q values side by side.
        """

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """Number of features that the part ``memory_at`` takes and gives."""
        raise NotImplementedError(f"{type(self).__name__} has no part that takes a memory")
