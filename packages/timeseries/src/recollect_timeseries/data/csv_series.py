"""Forecasting of a custom CSV file with a time column."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import pandas as pd

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_timeseries.data.forecasting import Borders, ForecastingData
from recollect_timeseries.data.missing import Fill, to_series
from recollect_timeseries.data.series import Series
from recollect_timeseries.data.table import read_table
from recollect_timeseries.data.timestamps import parse_setting


@final
class CsvData(ForecastingData):
    """A text table of numbers, evenly spaced in time; see ``read_table``.

    Unordered rows are sorted, and missing timestamps and empty cells filled, with a warning. A timestamp that
    is repeated or off the grid, a cell that is not a number, or a gap longer than ``longest_gap`` is an error
    that names file, line and column. Time zones are converted to UTC, but local times
    that are evenly spaced only as such (midnights over a change to summer time) stay local.

    Args:
        lookback: As in ``ForecastingData``.
        horizon: As in ``ForecastingData``.
        path: The file; in ``predict``, the series to continue.
        time: Name of the time column; by default the one called ``time``, ``date``, ``ds`` and so on, else
            the first.
        columns: Names of the columns to forecast; all others by default.
        time_format: ``strptime`` format of the timestamps; ISO 8601 by default.
        separator: Cell separator; recognised by default.
        header: Whether the first row names the columns; recognised by default.
        step: Time between rows (``"1h"``) of a file without a time column.
        split: Shares of training, validation and test, in chronological order.
        val_from: Timestamp at which the validation split starts, instead of ``split``; in the file's format
            or ISO 8601.
        test_from: Timestamp at which the test split starts, instead of ``split``.
        fill: How to fill missing values; ``"error"`` raises instead.
        longest_gap: Largest number of consecutive steps to fill.
        options: As in ``ForecastingData``.

    Raises:
        ValueError: If an argument is out of range.
        DataError: On reading, if the file is malformed or too short.
    """

    def __init__(
        self,
        lookback: int = 96,
        horizon: int = 24,
        *,
        path: Path | None = None,
        time: str | None = None,
        columns: Sequence[str] | None = None,
        time_format: str | None = None,
        separator: str | None = None,
        header: bool | None = None,
        step: str | None = None,
        split: tuple[float, float, float] = (0.7, 0.1, 0.2),
        val_from: str | None = None,
        test_from: str | None = None,
        fill: Fill = "interpolate",
        longest_gap: int = 24,
        **options: Any,
    ) -> None:
        super().__init__(lookback=lookback, horizon=horizon, **options)
        if min(split) <= 0 or abs(sum(split) - 1) > 1e-6:
            raise ValueError(f"split must be three positive shares that sum to 1, got {split}")
        if (val_from is None) != (test_from is None):
            raise ValueError("val_from and test_from go together")
        if longest_gap < 0:
            raise ValueError(f"longest_gap must not be negative, got {longest_gap}")
        if step is not None:
            _check_step(step, time)
        self.path = path
        self.time = time
        self.wanted = columns
        self.time_format = time_format
        self.separator = separator
        self.header = header
        self.step = step
        self._note: str | None = None
        self.split = split
        self.val_from = val_from
        self.test_from = test_from
        self.fill = fill
        self.longest_gap = longest_gap

    def read(self) -> Series:
        """Return the file as an evenly spaced series."""
        if self.path is None:
            raise ArgumentError("--data.path is missing: a CSV file with a time column")
        table = read_table(
            self.path, self.time, self.wanted, self.time_format, self.separator, self.header, self.step
        )
        self._note = table.note
        return to_series(table, self.fill, self.longest_gap)

    @property
    def notes(self) -> list[str]:
        """Which column was read as what."""
        return [] if self._note is None else [self._note]

    def borders(self, series: Series) -> Borders:
        """Return the borders given by shares or by dates."""
        end = len(series.values)
        if self.val_from is None:
            train, _, test = self.split
            return Borders(int(end * train), end - int(end * test), end)
        val, test = (self._step(series, name) for name in ("val_from", "test_from"))
        if not 0 < val < test < end:
            raise DataError(
                f"{series.name}: val_from {self.val_from} and test_from {self.test_from} must lie within the "
                "series, one after the other"
            )
        return Borders(val, test, end)

    def _step(self, series: Series, name: str) -> int:
        given = getattr(self, name)
        stamp = parse_setting(f"--data.{name}", given, self.time_format)
        # The first step that is not before the stamp.
        return max(-int(-series.calendar.ticks(pd.DatetimeIndex([stamp]))[0] // 1), 0)


def _check_step(step: str, time: str | None) -> None:
    if time is not None:
        raise ValueError("step is for files without a time column; leave time or step out")
    try:
        valid = pd.Timedelta(step) > pd.Timedelta(0)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f'step must be a positive time such as "1h" or "15min", got {step!r}')
