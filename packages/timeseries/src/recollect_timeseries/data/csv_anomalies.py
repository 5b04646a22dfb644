"""Anomalies in a CSV file of one's own."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_timeseries.data.anomaly_detection import AnomalyData
from recollect_timeseries.data.labelled_series import LabelledSeries
from recollect_timeseries.data.labelled_table import LabelledTable, read_labelled_table


@final
class CsvAnomalyData(AnomalyData):
    """A CSV file with a header and columns of numbers; a time column and a column of labels are optional.

    A first column that does not begin with a number is taken for the time. Rows are taken one after the
    other as equally far apart; stamps must not go back or repeat. An empty cell is filled with the value
    before it (at the beginning, with the one after), with a warning. What is no number is an error that names
    file, line and column.

    Args:
        window: As in ``AnomalyData``.
        stride: As in ``AnomalyData``.
        batch_size: As in ``AnomalyData``.
        num_workers: As in ``AnomalyData``.
        seed: As in ``AnomalyData``.
        held_out: As in ``AnomalyData``.
        transductive: As in ``AnomalyData``.
        path: The file.
        normal_path: A file of the same columns in which all is normal; else the first part of ``path`` is
            taken for normal.
        normal: Share of ``path`` that is taken for normal where there is no ``normal_path``.
        time: Name of the time column.
        label: Name of the column of labels, 0 for normal and 1 for anomalous.
        columns: Names of the columns to watch; all that are left by default.
        time_format: How stamps are written, as for ``strptime``; ISO 8601 by default.
        separator: What stands between cells.

    Raises:
        ValueError: If an argument is out of range.
        DataError: Once the file is read, if it is malformed or too short.
    """

    def __init__(
        self,
        window: int = 64,
        stride: int = 1,
        batch_size: int = 64,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        held_out: float = 0.2,
        transductive: bool = False,
        path: Path | None = None,
        normal_path: Path | None = None,
        normal: float = 0.25,
        time: str | None = None,
        label: str | None = None,
        columns: Sequence[str] | None = None,
        time_format: str | None = None,
        separator: str = ",",
    ) -> None:
        super().__init__(
            window, stride, batch_size, num_workers, seed, held_out=held_out, transductive=transductive
        )
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

    def read(self) -> list[LabelledSeries]:
        """The only channel: ``path``, with what is learnt from."""
        rows = self.rows
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
        """All rows of ``path``."""
        if self.rows.columns != self.columns:
            raise DataError(
                f"{self.path} has the columns {', '.join(self.rows.columns)}; the detector has learnt "
                f"{', '.join(self.columns)}"
            )
        return [self._labelled_series(self.rows, self.rows.values[:0], 0)]

    def column_names(self) -> list[str]:
        """Those that are watched."""
        return self.rows.columns

    def learn(self) -> dict[str, Any]:
        """As ``AnomalyData``; warns of a column that is constant where all is normal."""
        learnt = super().learn()
        normal = self._normal(self.series[0])
        for name, values in zip(learnt["columns"], normal.T, strict=True):
            if np.ptp(values) == 0:
                rank_zero_warn(
                    f"{self.path}, column {name!r} is constant in the {len(values)} normal rows: any change "
                    "of it is measured in its own units"
                )
        return learnt

    @cached_property
    def rows(self) -> LabelledTable:
        """What ``path`` holds, read once."""
        if self.path is None:
            raise ArgumentError("--data.path is missing: a CSV file of what is to be watched")
        return self._read(self.path)

    def _read(self, path: Path) -> LabelledTable:
        return read_labelled_table(path, self.time, self.label, self.wanted, self.time_format, self.separator)

    def _labelled_series(
        self, rows: LabelledTable, normal: NDArray[np.float64], begin: int
    ) -> LabelledSeries:
        label = None if rows.label is None else rows.label[begin:]
        return LabelledSeries("series", normal, rows.values[begin:], label, rows.times[begin:], begin > 0)
