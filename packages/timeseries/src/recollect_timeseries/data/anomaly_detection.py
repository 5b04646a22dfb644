"""Base class of anomaly detection datasets: channels, scaling by normal data, windows."""

from abc import abstractmethod
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect.training import DataError, DataModule, Split
from recollect.training.errors import ArgumentError
from recollect.validation import check_positive
from recollect_timeseries.data.labelled_series import LabelledSeries, NormalWindows, SeriesDataset
from recollect_timeseries.data.periodicity import estimate_period
from recollect_timeseries.types import SeriesBatch

CONTEXT = 1024
"""Largest number of context steps before the scored ones."""


class AnomalyData(DataModule):
    """Channels, each with normal data that its detector is fitted on.

    The last part of the normal data is for validation: early stopping and the threshold. An item of the test
    split is one channel to score. Columns are scaled to mean 0 and variance 1 over the normal data; columns
    that are constant there are not scaled.

    Args:
        window: Number W of steps in a training window.
        stride: Steps between two training windows of the longest channel.
        batch_size: Number of windows per channel in a batch.
        num_workers: As in ``DataModule``.
        seed: Seed of the shuffling.
        channel: Name of a single channel; all by default.
        held_out: Share of the normal data used for validation.
        transductive: Fit on the series to score, without labels, instead of the normal data, like the methods
            that Liu & Paparrizos (2024) call unsupervised.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        window: int,
        stride: int,
        batch_size: int,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        channel: str | None = None,
        held_out: float = 0.2,
        transductive: bool = False,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        check_positive(window=window, stride=stride)
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be between 0 and 1, got {held_out}")
        self.window = window
        self.stride = stride
        self.channel = channel
        self.held_out = held_out
        self.transductive = transductive

    # --- abstract methods -----------------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> list[LabelledSeries]:
        """Return all channels, or the one named by ``channel``."""

    # --- public methods -------------------------------------------------------------------------------------

    @cached_property
    def series(self) -> list[LabelledSeries]:
        """The channels, read once."""
        return self.read()

    @property
    def channels(self) -> list[str]:
        """Names of the G channels fitted on."""
        return cast(list[str], self.fitted["channels"])

    @property
    def columns(self) -> list[str]:
        """Names of the C columns that every channel has."""
        return cast(list[str], self.fitted["columns"])

    @property
    def periods(self) -> list[int]:
        """Period of each channel's first column, in steps."""
        return cast(list[int], self.fitted["periods"])

    def normal(self, split: Split) -> list[Tensor]:
        """Return each channel's scaled normal data ``(N_g, C)``; for ``"train"``, without validation."""
        stretches = [self.scale(self._normal(series), g) for g, series in enumerate(self.series)]
        if split != "train":
            return stretches
        return [stretch[: self._border(len(stretch))] for stretch in stretches]

    def scale(self, values: Any, channel: int) -> Tensor:
        """Scale values ``(T, C)`` for the model."""
        mean, std = self.fitted["mean"][channel], self.fitted["std"][channel]
        scaled: Tensor = (torch.as_tensor(values) - mean) / std
        return scaled.float()

    # --- overrides ------------------------------------------------------------------------------------------

    def fit(self) -> dict[str, Any]:
        """Return names, and mean, standard deviation and period of each channel."""
        channels = self.series
        self._check_sizes(channels)
        normal = [torch.as_tensor(self._normal(series)) for series in channels]
        spreads = torch.stack([values.std(0, correction=0) for values in normal])
        return {
            "channels": [series.name for series in channels],
            "columns": self.column_names(),
            "periods": [estimate_period(values[:, 0].numpy()) for values in normal],
            "mean": torch.stack([values.mean(0) for values in normal]),
            "std": torch.where(spreads < 1e-12, 1.0, spreads),
        }

    def prediction_series(self) -> list[LabelledSeries]:
        """Return the series that ``predict`` scores; the test series by default."""
        return self.series

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return [str(c) for c in range(self.series[0].normal.shape[1])]

    def dataset(self, split: Split) -> Dataset[Any]:
        """Return the windows of the normal data, or the channels to score."""
        if split == "train":
            return NormalWindows(self.normal("train"), self.window, self.stride)
        if split == "val":
            # A validation window ends in the validation part but may start before it.
            stretches = [
                values[self._border(len(values)) - self.window + 1 :] for values in self.normal("val")
            ]
            return NormalWindows(stretches, self.window, self.stride)
        return SeriesDataset(
            [
                self._item(series)
                for series in (self.prediction_series() if split == "predict" else self.series)
            ]
        )

    def collate(self, items: list[Any]) -> Any:
        """Stack windows to ``(B, G, W, C)``, or return one channel."""
        if isinstance(items[0], Tensor):
            return torch.stack(items)
        return SeriesBatch(*(torch.stack(parts) for parts in zip(*items, strict=True)))

    def batches(self, split: Split, dataset: Any, epoch: int) -> list[list[int]]:
        """See ``DataModule``; channels differ in length, so each is a batch."""
        if split in ("train", "val"):
            return super().batches(split, dataset, epoch)
        return [[index] for index in range(len(dataset))]

    @property
    def notes(self) -> list[str]:
        """A note if the detector is fitted on the test series."""
        return ["learned from what is judged, without its labels"] if self.transductive else []

    # --- helpers --------------------------------------------------------------------------------------------

    def _normal(self, series: LabelledSeries) -> np.ndarray[Any, np.dtype[np.float64]]:
        return series.values if self.transductive else series.normal

    def _border(self, steps: int) -> int:
        """Return the first step of the validation part."""
        return steps - max(int(steps * self.held_out), 1)

    def _number(self, series: LabelledSeries) -> int:
        if series.name not in self.channels:
            raise DataError(
                f"{series.name} is no channel that the detector has learned; those are "
                f"{', '.join(self.channels)}"
            )
        return self.channels.index(series.name)

    def _item(self, series: LabelledSeries) -> SeriesBatch:
        number = self._number(series)
        context = series.normal[-CONTEXT:] if series.contiguous else series.normal[:0]
        label = np.zeros(len(series.values), dtype=bool) if series.label is None else series.label
        return SeriesBatch(
            self.scale(series.values, number),
            self.scale(context, number),
            torch.as_tensor(label),
            torch.tensor(number),
        )

    def _check_sizes(self, channels: list[LabelledSeries]) -> None:
        for series in channels:
            normal = self._normal(series)
            if self._border(len(normal)) < self.window:
                raise DataError(
                    f"{series.name}: there are {len(normal)} normal rows to learn from, "
                    f"{self._border(len(normal))} without validation; a window of {self.window} needs "
                    "more: a smaller --data.window, or more rows"
                )

    def select_channels(self, names: list[str]) -> list[str]:
        """Return the names selected by ``channel``.

        Raises:
            ArgumentError: If the channel is unknown.
        """
        if self.channel is None:
            return names
        if self.channel not in names:
            raise ArgumentError(f"--data.channel {self.channel!r}: there are {', '.join(names)}")
        return [self.channel]
