"""Forecaster: instance normalisation, a backbone and optional memories."""

from collections.abc import Callable
from typing import final

from torch import Tensor, nn

from recollect import Concatenation, Integration, Memory, augment
from recollect_timeseries.models.backbone import Backbone, ForecasterSizes
from recollect_timeseries.models.instance_norm import (
    WindowStatistics,
    denormalize_values,
    normalize_values,
    window_statistics,
)
from recollect_timeseries.models.window_memory import RetrievedWindows, WindowMemory


@final
class Forecaster(nn.Module):
    """y = denormalize_values(backbone(normalize_values(x)) + the contribution of retrieved windows).

    Args:
        backbone: Forecasts each variable.
        windows: A memory of training windows.
        memory: Builds a memory for the backbone's submodule ``memory_at``, given its width; the forecast is
            unchanged at first.
        integration: How the memory joins the backbone.

    Raises:
        ValueError: If the backbone has no submodule for a memory.

    Example:
        >>> import torch
        >>> from recollect_timeseries.models.linear import Linear
        >>> forecaster = Forecaster(Linear(ForecasterSizes(lookback=8, horizon=4, columns=3)))
        >>> forecaster(torch.randn(2, 8, 3), torch.zeros(2, dtype=torch.int64)).shape
        torch.Size([2, 4, 3, 1])
    """

    def __init__(
        self,
        backbone: Backbone,
        windows: WindowMemory | None = None,
        memory: Callable[[int], Memory] | None = None,
        integration: Callable[..., Integration] = Concatenation,
    ) -> None:
        super().__init__()
        self.sizes: ForecasterSizes = backbone.sizes
        self.windows = windows
        if memory is not None:
            if backbone.memory_at is None:
                raise ValueError(f"{type(backbone).__name__} has no part that takes a memory")
            augment(
                backbone, backbone.memory_at, memory, integration, size=backbone.memory_sizes, layout="btd"
            )
        self.backbone = backbone

    def forward(self, past: Tensor, clock: Tensor, retrieved: RetrievedWindows | None = None) -> Tensor:
        """Forecast the scaled values.

        Args:
            past: ``(B, L, C)`` scaled values.
            clock: ``(B,)`` int64, the first forecast step.
            retrieved: Result of an earlier search; by default the memory is searched here.

        Returns:
            ``(B, H, C, Q)`` scaled values: quantiles in rising order, or the single forecast.
        """
        features, level = self.normalize_past(past)
        futures = self.futures(past, clock, retrieved)
        return self.denormalize_forecast(self.forecast_normalized(features, clock, futures), level)

    def normalize_past(self, past: Tensor) -> tuple[Tensor, WindowStatistics]:
        """Return the normalised past of each variable, ``(B, C, L)``, and its statistics."""
        by_variable = past.mT
        level = window_statistics(by_variable, self.sizes.normalize)
        return normalize_values(by_variable, level), level

    def futures(self, past: Tensor, clock: Tensor, retrieved: RetrievedWindows | None) -> list[Tensor]:
        """The futures of similar windows; empty without a memory of windows."""
        if self.windows is None:
            return []
        return self.windows.futures(self.windows.retrieve(past, clock) if retrieved is None else retrieved)

    def forecast_normalized(self, features: Tensor, clock: Tensor, futures: list[Tensor]) -> Tensor:
        """Return the normalised forecast, ``(B, C, H · Q)``."""
        future: Tensor = self.backbone(features, clock)
        return future if self.windows is None else future + self.windows(futures)

    def denormalize_forecast(self, future: Tensor, level: WindowStatistics) -> Tensor:
        """Denormalise the result of ``forecast_normalized``: ``(B, H, C, Q)``."""
        raised = denormalize_values(future, level)
        by_step = raised.reshape(*raised.shape[:2], self.sizes.horizon, self.sizes.quantiles).transpose(1, 2)
        # Sorting removes quantile crossing (Chernozhukov et al. 2010, Econometrica 78, section 2).
        return by_step.sort(-1).values if self.sizes.quantiles > 1 else by_step
