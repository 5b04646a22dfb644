"""Linear forecasters, shared by all variables."""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_timeseries.models.backbone import Backbone, ForecasterSizes


@final
class Linear(Backbone):
    """y = W x + b. With ``normalize="last"`` this is NLinear (Zeng et al. 2023, arXiv:2205.13504, section 4).

    With ``normalize="revin"`` it is RLinear (Li et al. 2023, arXiv:2305.10721).

    Args:
        sizes: Sizes of the forecaster.

    Example:
        >>> Linear(ForecasterSizes(lookback=8, horizon=4, columns=3))(
        ...     torch.randn(2, 3, 8), torch.zeros(2, dtype=torch.int64)
        ... ).shape
        torch.Size([2, 3, 4])
    """

    memory_at = "linear"

    def __init__(self, sizes: ForecasterSizes) -> None:
        super().__init__(sizes)
        self.linear = nn.Linear(sizes.lookback, sizes.horizon * sizes.quantiles)
        _init_as_mean(self.linear)

    def forward(self, past: Tensor, clock: Tensor) -> Tensor:
        """See ``Backbone``."""
        future: Tensor = self.linear(past)
        return future

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """L and H · Q."""
        return self.linear.in_features, self.linear.out_features


@final
class DLinear(Backbone):
    """y = W_t trend(x) + W_s (x − trend(x)), trend a moving average (Zeng et al. 2023, arXiv:2205.13504).

    The ends are padded with the first and last value (section 4 of the paper).

    Args:
        sizes: Sizes of the forecaster.
        kernel: Odd width of the moving average.

    Raises:
        ValueError: If ``kernel`` is even or not positive.
    """

    memory_at = "season"

    def __init__(self, sizes: ForecasterSizes, kernel: int = 25) -> None:
        super().__init__(sizes)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and positive, got {kernel}")
        self.kernel = kernel
        self.trend = nn.Linear(sizes.lookback, sizes.horizon * sizes.quantiles)
        self.season = nn.Linear(sizes.lookback, sizes.horizon * sizes.quantiles)
        for part in (self.trend, self.season):
            _init_as_mean(part)

    def forward(self, past: Tensor, clock: Tensor) -> Tensor:
        """See ``Backbone``."""
        ends = (self.kernel // 2, self.kernel // 2)
        padded = F.pad(past.flatten(0, 1), ends, mode="replicate")
        trend = F.avg_pool1d(padded, self.kernel, 1).view_as(past)
        future: Tensor = self.trend(trend) + self.season(past - trend)
        return future

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """L and H · Q."""
        return self.season.in_features, self.season.out_features


@final
class CycleLinear(Backbone):
    """A linear map beside a learned recurrent cycle (CycleNet, Lin et al. 2024, arXiv:2409.18479).

    x' = x − q[t − L …], y = W x' + b + q[t …], with a cycle q of ``period`` values for each variable, learned
    from zero, that is read at the clock modulo its period (eqs. 1–5 there). The cycle is itself a memory.

    Args:
        sizes: Sizes of the forecaster.
        period: Steps of the cycle: 24 for hourly, 96 for quarter-hourly data with a daily course.

    Raises:
        ValueError: If ``period`` is not positive.
    """

    memory_at = "linear"

    def __init__(self, sizes: ForecasterSizes, period: int = 24) -> None:
        super().__init__(sizes)
        if period < 1:
            raise ValueError(f"period must be at least 1, got {period}")
        self.period = period
        self.cycle = nn.Parameter(torch.zeros(period, sizes.columns))
        self.linear = nn.Linear(sizes.lookback, sizes.horizon * sizes.quantiles)
        _init_as_mean(self.linear)

    def forward(self, past: Tensor, clock: Tensor) -> Tensor:
        """See ``Backbone``."""
        lookback, horizon = self.sizes.lookback, self.sizes.horizon
        steps = torch.arange(-lookback, horizon, device=clock.device)
        recurring = self.cycle[(clock.unsqueeze(-1) + steps) % self.period].mT  # (B, C, L + H)
        future: Tensor = self.linear(past - recurring[..., :lookback])
        return future + recurring[..., lookback:].repeat_interleave(self.sizes.quantiles, -1)

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """L and H · Q."""
        return self.linear.in_features, self.linear.out_features


def _init_as_mean(linear: nn.Linear) -> None:
    """Initialise the map to the mean of the past, an option of DLinear's code."""
    nn.init.constant_(linear.weight, 1 / linear.in_features)
    nn.init.zeros_(linear.bias)
