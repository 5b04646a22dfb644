"""Seasonal-naive forecast, the baseline."""

from typing import final

import torch
from torch import Tensor

from recollect_timeseries.models.backbone import Backbone, ForecasterSizes


@final
class SeasonalNaive(Backbone):
    """y_{t+h} = x_{t+h−kp}, k the smallest number of periods p that reaches into the past; no parameters.

    Args:
        sizes: Sizes of the forecaster.
        period: Steps p in a season.

    Raises:
        ValueError: If the past is shorter than a season, or with quantiles.

    Example:
        >>> naive = SeasonalNaive(ForecasterSizes(lookback=4, horizon=3, columns=1), period=2)
        >>> naive(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.zeros(1, dtype=torch.int64))
        tensor([[[3., 4., 3.]]])
    """

    def __init__(self, sizes: ForecasterSizes, period: int = 24) -> None:
        super().__init__(sizes)
        if not 1 <= period <= sizes.lookback:
            raise ValueError(f"period must be between 1 and lookback ({sizes.lookback}), got {period}")
        if sizes.quantiles > 1:
            raise ValueError("a seasonal-naive forecast has no quantiles")
        self.period = period

    def forward(self, past: Tensor, clock: Tensor) -> Tensor:
        """See ``Backbone``."""
        steps = torch.arange(self.sizes.horizon, device=past.device) % self.period
        return past[..., past.shape[-1] - self.period + steps]
