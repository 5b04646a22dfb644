"""Base class of forecasting datasets: chronological splits, scaling, windows."""

from abc import abstractmethod
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from recollect.training import DataError, DataModule, Split
from recollect.validation import check_positive
from recollect_timeseries.data.calendar import Calendar
from recollect_timeseries.data.series import Series
from recollect_timeseries.data.windows import WindowDataset
from recollect_timeseries.types import WindowBatch

LARGEST = 1e15
"""Standard deviations from the mean; squares of larger ones leave the range of float32."""


class Borders(NamedTuple):
    """First step of the validation split, of the test split and after the end."""

    val: int
    test: int
    end: int


class ForecastingData(DataModule):
    """Windows of a series, split chronologically and scaled by the training split.

    Every window of L + H steps that lies within the training split is an item of it. The windows of the other
    splits are those whose H steps to be forecast lie within the split; their L steps may reach into the split
    before, as is usual. Every one of them counts, the last, shorter batch included. Columns are scaled to
    mean 0 and variance 1 over the training split.

    Args:
        lookback: Number L of past steps.
        horizon: Number H of forecast steps.
        batch_size: Windows in a batch.
        num_workers: As in ``DataModule``.
        seed: Seed of the shuffling.
        forecast: What ``predict`` forecasts: the steps after the ``"end"`` of the series, or all of its
            ``"test"`` split, one horizon after the other.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(
        self,
        lookback: int,
        horizon: int,
        batch_size: int = 64,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        forecast: Literal["end", "test"] = "end",
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        check_positive(lookback=lookback, horizon=horizon)
        self.lookback = lookback
        self.horizon = horizon
        self.forecast = forecast
        self._datasets: dict[Split, WindowDataset] = {}

    # --- abstract methods -----------------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> Series:
        """Return the series."""

    @abstractmethod
    def borders(self, series: Series) -> Borders:
        """Return the borders of its splits."""

    # --- public methods -------------------------------------------------------------------------------------

    @cached_property
    def series(self) -> Series:
        """The series, read once."""
        return self.read()

    @property
    def columns(self) -> list[str]:
        """Names of the C variables."""
        return cast(list[str], self.fitted["columns"])

    @property
    def calendar(self) -> Calendar:
        """The grid of time of the training data."""
        return Calendar(*self.fitted["calendar"])

    @property
    def train_steps(self) -> int:
        """Number of steps of the training split."""
        return int(self.fitted["steps"])

    def scale(self, values: Tensor) -> Tensor:
        """Scale values ``(…, C)`` for the model, float32; in float64, for a large mean leaves few digits."""
        return ((values.double() - self._mean) / self._std).float()

    def unscale(self, values: Tensor) -> Tensor:
        """Convert values ``(…, C)`` to the units of the series, float64."""
        return values.cpu().double() * self._std + self._mean

    @property
    def _mean(self) -> Tensor:
        return cast(Tensor, self.fitted["mean"])

    @property
    def _std(self) -> Tensor:
        return cast(Tensor, self.fitted["std"])

    def stamps(self, clock: int, steps: int) -> list[str]:
        """Return ISO 8601 timestamps of ``steps`` steps from ``clock`` on."""
        return [stamp.isoformat(sep=" ") for stamp in self.calendar.stamps(np.arange(clock, clock + steps))]

    # --- overrides ------------------------------------------------------------------------------------------

    def fit(self) -> dict[str, Any]:
        """Return columns, calendar, and mean and standard deviation of the training split.

        Raises:
            DataError: If a split is too short for lookback and horizon.
        """
        series = self.series
        borders = self.borders(series)
        self._require(series, "training split", borders.val, self.lookback + self.horizon)
        self._require(series, "validation split", borders.test - borders.val, self.horizon)
        self._require(series, "test split", borders.end - borders.test, self.horizon)
        values = torch.tensor(series.values[: borders.val])
        std = values.std(0, correction=0)
        for name, spread in zip(series.columns, std.tolist(), strict=True):
            if spread == 0:
                rank_zero_warn(
                    f"{series.name}, column {name!r} is constant in the training split: it is not scaled"
                )
        return {
            "columns": list(series.columns),
            "calendar": list(series.calendar),
            "steps": len(values),
            "mean": values.mean(0),
            "std": torch.where(std == 0, 1.0, std),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the scaling of a checkpoint."""
        super().load_state_dict(state_dict)
        self._datasets.clear()

    def dataset(self, split: Split) -> WindowDataset:
        """The windows of a split."""
        if split not in self._datasets:
            self._datasets[split] = self._windows(split)
        return self._datasets[split]

    def collate(self, items: Any) -> WindowBatch:
        """The batch as the dataset cut it."""
        return WindowBatch(*items)

    def _windows(self, split: Split) -> WindowDataset:
        series, first = self.series, 0
        if split == "predict":
            first = self._tick_of(series)
        values = self.scale(torch.tensor(series.values))
        self._check_range(series, values)
        return WindowDataset(values, self._origins(series, split), self.lookback, self.horizon, first)

    def _check_range(self, series: Series, scaled: Tensor) -> None:
        far = torch.nonzero(~(scaled.abs() < LARGEST))
        if len(far):
            row, column = far[0].tolist()
            stamp = series.calendar.stamps(np.array([series.first + row]))[0]
            raise DataError(
                f"{series.name}, column {series.columns[column]!r}, {stamp}: {series.values[row, column]:g} "
                f"is {scaled[row, column].abs():.0e} standard deviations away from the training split; leave "
                "the cell empty if it stands for a missing value"
            )

    def _origins(self, series: Series, split: Split) -> Tensor:
        if split == "predict" and self.forecast == "end":
            self._require(series, "series", len(series.values), self.lookback)
            return torch.tensor([len(series.values)])
        borders = self.borders(series)
        if split == "predict":
            return torch.arange(borders.test, borders.end, self.horizon)
        begin, end = {
            "train": (self.lookback, borders.val),
            "val": (borders.val, borders.test),
            "test": (borders.test, borders.end),
        }[split]
        return torch.arange(begin, end - self.horizon + 1)

    def _require(self, series: Series, part: str, steps: int, needed: int) -> None:
        if steps < needed:
            raise DataError(
                f"{series.name}: the {part} has {steps} rows and needs {needed} for "
                f"lookback {self.lookback} and horizon {self.horizon}"
            )

    def _tick_of(self, series: Series) -> int:
        """The clock at which a series begins that is to be forecast, by the training data's calendar."""
        if series.columns != self.columns:
            raise DataError(
                f"{series.name} has the columns {', '.join(series.columns)}; the model was trained on "
                f"{', '.join(self.columns)}"
            )
        if series.calendar[1:3] != self.calendar[1:3]:
            raise DataError(
                f"{series.name} has a step of {series.calendar.describe()}; the model was trained on one of "
                f"{self.calendar.describe()}"
            )
        tick = float(self.calendar.ticks(series.calendar.stamps(np.array([series.first])))[0])
        return int(np.floor(tick))
