"""Your own series: any CSV file with a time column."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

import pandas as pd

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_timeseries.data.forecasting import Borders, ForecastingData
from recollect_timeseries.data.missing import Fill, to_series
from recollect_timeseries.data.series import Series
from recollect_timeseries.data.table import read_table


@final
class CsvData(ForecastingData):
    """A CSV file with a header, a time column and columns of numbers, evenly spaced in time.

    Rows that are out of order are sorted, missing stamps and empty cells filled, with a warning that says so;
    a stamp that occurs twice or is off the grid, a cell that is no number, or a gap longer than
    ``longest_gap`` is an error that names file, line and column. Time zones are turned into UTC.

    Args:
        lookback: As in ``ForecastingData``.
        horizon: As in ``ForecastingData``.
        batch_size: As in ``ForecastingData``.
        num_workers: As in ``ForecastingData``.
        seed: As in ``ForecastingData``.
        forecast: As in ``ForecastingData``.
        path: The file; in ``predict`` one whose end is to be continued.
        time: Name of the time column; the first one by default.
        columns: Names of the columns to forecast; all that are left by default.
        time_format: How stamps are written, as for ``strptime``; ISO 8601 by default.
        separator: What stands between cells.
        split: Shares of training, validation and test, in order of time.
        val_from: Stamp at which validation begins, in place of ``split``.
        test_from: Stamp at which the test begins, in place of ``split``.
        fill: How missing values are filled; ``"error"`` allows none.
        longest_gap: Steps in a row that may be filled.

    Raises:
        ValueError: If an argument is out of range.
        DataError: Once the file is read, if it is malformed or too short.
    """

    def __init__(
        self,
        lookback: int = 96,
        horizon: int = 24,
        batch_size: int = 64,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        forecast: Literal["end", "test"] = "end",
        path: Path | None = None,
        time: str | None = None,
        columns: Sequence[str] | None = None,
        time_format: str | None = None,
        separator: str = ",",
        split: tuple[float, float, float] = (0.7, 0.1, 0.2),
        val_from: str | None = None,
        test_from: str | None = None,
        fill: Fill = "interpolate",
        longest_gap: int = 24,
    ) -> None:
        super().__init__(lookback, horizon, batch_size, num_workers, seed, forecast=forecast)
        if min(split) <= 0 or abs(sum(split) - 1) > 1e-6:
            raise ValueError(f"split must be three positive shares that sum to 1, got {split}")
        if (val_from is None) != (test_from is None):
            raise ValueError("val_from and test_from go together")
        if longest_gap < 0:
            raise ValueError(f"longest_gap must not be negative, got {longest_gap}")
        self.path = path
        self.time = time
        self.wanted = columns
        self.time_format = time_format
        self.separator = separator
        self.split = split
        self.val_from = val_from
        self.test_from = test_from
        self.fill = fill
        self.longest_gap = longest_gap

    def read(self) -> Series:
        """The file as an even series."""
        if self.path is None:
            raise ArgumentError("--data.path is missing: a CSV file with a time column")
        table = read_table(self.path, self.time, self.wanted, self.time_format, self.separator)
        return to_series(table, self.fill, self.longest_gap)

    def borders(self, series: Series) -> Borders:
        """By shares, or by dates."""
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
        stamp = pd.to_datetime(given, errors="coerce")
        if pd.isna(stamp):
            raise ArgumentError(f"--data.{name} {given!r} is no time stamp")
        # The first step that is not before the stamp.
        return max(-int(-series.calendar.ticks(pd.DatetimeIndex([stamp]))[0] // 1), 0)
