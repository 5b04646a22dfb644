"""Base class of forecasting backbones: one network shared by all variables."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from recollect_timeseries.models.instance_norm import Normalize


class ForecasterSizes(NamedTuple):
    """Sizes of a forecaster.

    Attributes:
        lookback: Number L of past steps.
        horizon: Number H of forecast steps.
        columns: Number C of variables.
        quantiles: Number Q of values forecast for each step: quantiles, or 1.
        steps: Number of steps of the training split.
        normalize: Normalisation of each window.
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
        sizes: Sizes of the forecaster.
    """

    memory_at: str | None = None
    """Name of the submodule that a learned memory augments; ``None`` if there is none."""

    def __init__(self, sizes: ForecasterSizes) -> None:
        super().__init__()
        self.sizes = sizes

    @abstractmethod
    def forward(self, past: Tensor, clock: Tensor) -> Tensor:
        """Forecast the future of each variable.

        Args:
            past: ``(B, C, L)``, normalised.
            clock: ``(B,)`` int64, the first forecast step, counted from the start of the training data.

        Returns:
            ``(B, C, H · Q)``, the Q values of each step adjacent.
        """

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """Input and output width of the submodule ``memory_at``."""
        raise NotImplementedError(f"{type(self).__name__} has no part that takes a memory")
