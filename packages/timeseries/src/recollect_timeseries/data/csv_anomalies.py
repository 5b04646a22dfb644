"""Anomaly detection in a custom CSV file."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch.utils.data import Dataset

from recollect.training import DataError, Split
from recollect.training.errors import ArgumentError
from recollect_timeseries.data.anomaly_detection import AnomalyData
from recollect_timeseries.data.labelled_series import LabelledSeries
from recollect_timeseries.data.labelled_table import LabelledTable, read_labelled_table

LARGEST = 1e15
"""Standard deviations from the mean; squares of larger ones leave the range of float32."""


@final
class CsvAnomalyData(AnomalyData):
    """A text table of numbers; columns of times and labels are optional. See ``read_labelled_table``.

    Rows count as evenly spaced; timestamps must increase. An empty cell is filled with the previous value (at
    the beginning, with the next one), with a warning. A cell that is not a number is an error that names
    file, line and column.

    Args:
        window: As in ``AnomalyData``.
        stride: As in ``AnomalyData``.
        batch_size: As in ``AnomalyData``.
        path: The file.
        normal_path: A file of normal data with the same columns; by default the first part of ``path`` is
            used.
        normal: Share of ``path`` used as normal data without a ``normal_path``.
        time: Name of the time column; recognised by its name or by dates in the first column.
        label: Name of the label column, 0 for normal and 1 for anomalous; recognised by its name.
        columns: Names of the value columns; all others by default.
        time_format: ``strptime`` format of the timestamps; ISO 8601 by default.
        separator: Cell separator; recognised by default.
        header: Whether the first row names the columns; recognised by default.
        options: As in ``AnomalyData``, except ``channel``.

    Raises:
        ValueError: If an argument is out of range.
        DataError: On reading, if the file is malformed or too short.
    """

    def __init__(
        self,
        window: int = 64,
        stride: int = 1,
        batch_size: int = 64,
        *,
        path: Path | None = None,
        normal_path: Path | None = None,
        normal: float = 0.25,
        time: str | None = None,
        label: str | None = None,
        columns: Sequence[str] | None = None,
        time_format: str | None = None,
        separator: str | None = None,
        header: bool | None = None,
        **options: Any,
    ) -> None:
        # A file is the only channel, so there is none to choose.
        super().__init__(window=window, stride=stride, batch_size=batch_size, channel=None, **options)
        if not 0 < normal < 1:
            raise ValueError(f"normal must be between 0 and 1, got {normal}")
        self.path = path
        self.normal_path = normal_path
        self.normal_share = normal
        self.time = time
        self.label = label
        self.wanted = columns
        self.time_format = time_format
        self.separator = separator
        self.header = header

    def read(self) -> list[LabelledSeries]:
        """Return the only channel: ``path`` with its normal data."""
        rows = self.rows
        if self.label is not None and rows.label is None:
            raise DataError(f"{self.path} has no column {self.label!r}; it has: {', '.join(rows.columns)}")
        if self.normal_path is None:
            border = int(len(rows.values) * self.normal_share)
            return [self._labelled_series(rows, rows.values[:border], border)]
        normal = self._read(self.normal_path)
        if normal.columns != rows.columns:
            raise DataError(
                f"{self.normal_path} has the columns {', '.join(normal.columns)}, but {self.path} has "
                f"{', '.join(rows.columns)}"
            )
        return [self._labelled_series(rows, normal.values, 0)]

    def prediction_series(self) -> list[LabelledSeries]:
        """Return all rows of ``path``."""
        if self.rows.columns != self.columns:
            raise DataError(
                f"{self.path} has the columns {', '.join(self.rows.columns)}; the detector has learned "
                f"{', '.join(self.columns)}"
            )
        return [self._labelled_series(self.rows, self.rows.values[:0], 0)]

    def column_names(self) -> list[str]:
        """Return the names of the value columns."""
        return self.rows.columns

    def fit(self) -> dict[str, Any]:
        """See ``AnomalyData``; warn about columns that are constant in the normal data."""
        fitted = super().fit()
        normal = self._normal(self.series[0])
        for name, values in zip(fitted["columns"], normal.T, strict=True):
            if np.ptp(values) == 0:
                rank_zero_warn(
                    f"{self.path}, column {name!r} is constant in the {len(values)} normal rows: any change "
                    "of it is measured in its own units"
                )
        return fitted

    @cached_property
    def rows(self) -> LabelledTable:
        """The table in ``path``, read once; a file to predict may have no labels."""
        if self.path is None:
            raise ArgumentError("--data.path is missing: a CSV file of what is to be watched")
        return self._read(self.path)

    def dataset(self, split: Split) -> Dataset[Any]:
        """See ``AnomalyData``.

        Raises:
            DataError: If a value is so far from the normal ones that its score would not be finite.
        """
        scaled = self.scale(self.rows.values, 0).abs().numpy()
        far = np.argwhere(~(scaled < LARGEST))
        if len(far):
            row, column = far[0]
            raise DataError(
                f"{self.path}, line {self.rows.lines[row]}, column {self.rows.columns[column]!r}: "
                f"{self.rows.values[row, column]:g} is {scaled[row, column]:.0e} standard deviations away "
                "from the normal rows; leave the cell empty if it stands for a missing value"
            )
        return super().dataset(split)

    @property
    def notes(self) -> list[str]:
        """Which column was read as what, and as in ``AnomalyData``."""
        return [self.rows.note, *super().notes]

    def _read(self, path: Path) -> LabelledTable:
        return read_labelled_table(
            path,
            self.time,
            self.label,
            self.wanted,
            self.time_format,
            self.separator,
            self.header,
            unlabelled=True,
        )

    def _labelled_series(
        self, rows: LabelledTable, normal: NDArray[np.float64], begin: int
    ) -> LabelledSeries:
        label = None if rows.label is None else rows.label[begin:]
        return LabelledSeries("series", normal, rows.values[begin:], label, rows.times[begin:], begin > 0)
