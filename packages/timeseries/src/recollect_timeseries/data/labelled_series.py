"""Labelled series for anomaly detection."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from recollect_timeseries.types import SeriesBatch


class LabelledSeries(NamedTuple):
    """One channel: normal data to fit on, and a test part to score.

    Attributes:
        name: Name of the channel.
        normal: ``(N, C)`` float64 normal data.
        values: ``(T, C)`` float64 test values.
        label: ``(T,)``, which points are anomalous; ``None`` if unknown.
        times: Timestamp or row number of each of the T points.
        contiguous: Whether ``values`` start where ``normal`` ends, so that ``normal`` is their context.
    """

    name: str
    normal: NDArray[np.float64]
    values: NDArray[np.float64]
    label: NDArray[np.bool_] | None
    times: Sequence[str]
    contiguous: bool


class SeriesDataset(Dataset[SeriesBatch]):
    """The channels of a split, one per item.

    Args:
        items: The channels.
    """

    def __init__(self, items: Sequence[SeriesBatch]) -> None:
        self.items = items

    def __len__(self) -> int:
        """Number of channels."""
        return len(self.items)

    def __getitem__(self, index: int) -> SeriesBatch:
        """One channel."""
        return self.items[index]


class NormalWindows(Dataset[Tensor]):
    """Windows of all G channels, ``(G, W, C)``, one for each channel's model.

    The channel with the most windows is visited once; the windows of the others are spread over the same
    number of items, so that some repeat.

    Args:
        channels: For each channel ``(N_g, C)``, scaled.
        window: Number W of steps.
        stride: Steps between two windows of the longest channel.

    Raises:
        ValueError: If a channel is shorter than a window.

    Example:
        >>> windows = NormalWindows([torch.arange(4.0)[:, None], torch.arange(2.0)[:, None]], window=2)
        >>> len(windows), windows[2].squeeze(-1).tolist()
        (3, [[2.0, 3.0], [0.0, 1.0]])
    """

    def __init__(self, channels: Sequence[Tensor], window: int, stride: int = 1) -> None:
        self.channels = channels
        self.window = window
        self.counts = [len(channel) - window + 1 for channel in channels]
        if min(self.counts) < 1:
            raise ValueError(f"a channel has {min(map(len, channels))} steps, fewer than a window ({window})")
        self.size = -(-max(self.counts) // stride)

    def __len__(self) -> int:
        """Windows of the longest channel."""
        return self.size

    def __getitem__(self, index: int) -> Tensor:
        """One window of each channel."""
        begins = [index * count // self.size for count in self.counts]
        cut = [channel[i : i + self.window] for channel, i in zip(self.channels, begins, strict=True)]
        return torch.stack(cut)
