"""Windows of a series: past and future."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect_timeseries.types import WindowBatch


class WindowDataset(Dataset[WindowBatch]):
    """All windows that forecast ``origins``, gathered batch by batch.

    Args:
        values: ``(T, C)`` scaled values.
        origins: ``(n,)`` int64, index in ``values`` of the first forecast step of each window.
        lookback: Number L of past steps.
        horizon: Number H of forecast steps; steps after the end of ``values`` are NaN.
        first: Clock of the first value.

    Raises:
        ValueError: If an origin has fewer than L values before it.

    Example:
        >>> values = torch.arange(6.0).unsqueeze(-1)
        >>> windows = WindowDataset(values, torch.arange(2, 5), lookback=2, horizon=2)
        >>> batch = windows.__getitems__([0, 2])
        >>> batch.past.squeeze(-1).tolist(), batch.future.squeeze(-1).tolist()
        ([[0.0, 1.0], [2.0, 3.0]], [[2.0, 3.0], [4.0, 5.0]])
    """

    def __init__(self, values: Tensor, origins: Tensor, lookback: int, horizon: int, first: int = 0) -> None:
        if len(origins) and int(origins.min()) < lookback:
            raise ValueError(
                f"a window begins {lookback} steps before {int(origins.min())}: before the series"
            )
        beyond = max(int(origins.max()) + horizon - len(values), 0) if len(origins) else 0
        self.values = torch.cat([values, values.new_full((beyond, values.shape[-1]), torch.nan)])
        self.origins = origins
        self.lookback = lookback
        self.horizon = horizon
        self.first = first
        self._steps = torch.arange(-lookback, horizon)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.origins)

    def __getitem__(self, index: int) -> WindowBatch:
        """One window, as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> WindowBatch:
        """The windows of a batch."""
        return self.cut(torch.tensor(indices, dtype=torch.int64))

    def cut(self, items: Tensor) -> WindowBatch:
        """The windows numbered ``items`` ``(B,)``."""
        origins = self.origins[items]
        cut = self.values[origins.unsqueeze(-1) + self._steps]
        return WindowBatch(cut[:, : self.lookback], cut[:, self.lookback :], origins + self.first, items)
