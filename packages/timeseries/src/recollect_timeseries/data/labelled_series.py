"""Series to be watched for anomalies: what is normal, what is to be judged, and what was wrong in truth."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from recollect_timeseries.types import SeriesBatch


class LabelledSeries(NamedTuple):
    """One channel: a stretch to learn what is normal from, and a stretch to be judged.

    Attributes:
        name: What it is called.
        normal: ``(N, C)`` float64, to learn from.
        values: ``(T, C)`` float64, to be judged.
        label: ``(T,)``, which of those points are anomalous; ``None`` where nobody knows.
        times: For each of the T points its stamp, or its number.
        contiguous: Whether ``values`` start where ``normal`` ends, so that ``normal`` is their context.
    """

    name: str
    normal: NDArray[np.float64]
    values: NDArray[np.float64]
    label: NDArray[np.bool_] | None
    times: Sequence[str]
    contiguous: bool


class SeriesDataset(Dataset[SeriesBatch]):
    """The channels of a split, one item each.

    Args:
        items: What they hold.
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
    """Windows of all G channels side by side, since every channel has a model of its own: ``(G, W, C)``.

    The channel with the most windows is gone through once; the others' windows are spread over the same
    number of items, so that some of theirs come more than once.

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
