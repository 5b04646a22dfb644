"""NAB, the Numenta Anomaly Benchmark: 58 series of one value each."""

import json
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recollect.training import DataError, data_folder, fetch
from recollect_timeseries.data.anomaly_detection import AnomalyData
from recollect_timeseries.data.labelled_series import LabelledSeries
from recollect_timeseries.data.table import read_table

URL = "https://raw.githubusercontent.com/numenta/NAB/master"
WINDOWS = "labels/combined_windows.json"

TRAIN_SHARE = 0.25
"""Share of a series used as normal data."""

MARGIN = 100
"""Steps between the normal data and the first anomaly."""


@final
class NabData(AnomalyData):
    """Series of servers, advertising, traffic, tweets and machines (Ahmad et al. 2017, Neurocomputing 262).

    The files have no training split. As in TSB-AD (Liu & Paparrizos 2024, NeurIPS), the first
    quarter is normal data, or less with an early anomaly: it ends 100 steps before the first labelled window.
    It covers at least NAB's probationary period, 15 % of the series but at most 750 steps, which never has
    an anomaly. The rest is the test. Without a labelled window in the test, ranking metrics are undefined for
    a series. Labels are NAB's windows, 10 % of a series shared among its anomalies. Rows count as evenly
    spaced, regardless of their timestamps. There are no published checksums; the labelled windows are
    checked against the series instead.

    Args:
        window: As in ``AnomalyData``.
        stride: As in ``AnomalyData``.
        batch_size: As in ``AnomalyData``.
        options: As in ``AnomalyData``.
    """

    def __init__(
        self,
        window: int = 64,
        stride: int = 4,
        batch_size: int = 16,
        **options: Any,
    ) -> None:
        super().__init__(window=window, stride=stride, batch_size=batch_size, **options)

    def prepare_data(self) -> None:
        """Download missing files."""
        folder = data_folder("NAB")
        fetch(f"{URL}/{WINDOWS}", None, folder / "labels")
        for name in self.select_channels(sorted(read_windows(folder / WINDOWS))):
            fetch(f"{URL}/data/{name}.csv", None, (folder / "data" / name).parent)

    def read(self) -> list[LabelledSeries]:
        """Return the series, sorted by name."""
        folder = data_folder("NAB")
        windows = read_windows(folder / WINDOWS)
        return [
            read_series(folder / "data" / f"{name}.csv", name, windows[name])
            for name in self.select_channels(sorted(windows))
        ]

    def column_names(self) -> list[str]:
        """Return the name of the only column."""
        return ["value"]


Window = tuple[str, str]


def read_windows(path: Path) -> dict[str, list[Window]]:
    """Read the first and last timestamp of every labelled window, by series.

    Raises:
        DataError: If the file is malformed.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            name.removesuffix(".csv"): [(begin, end) for begin, end in windows]
            for name, windows in found.items()
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no list of windows: {error}") from error


def read_series(path: Path, name: str, windows: list[Window]) -> LabelledSeries:
    """Read a series and split off its normal data.

    Raises:
        DataError: If the file is malformed, or a labelled window lies outside the series.
    """
    table = read_table(path)
    values = table.values
    if values.shape[1] != 1 or np.isnan(values).any():
        raise DataError(f"{path} should hold one value at each stamp")
    label = np.zeros(len(values), dtype=bool)
    for begin, end in windows:
        within = (table.stamps >= pd.Timestamp(begin)) & (table.stamps <= pd.Timestamp(end))
        if not within.any():
            raise DataError(f"{path} has no row within its window from {begin} to {end}")
        label |= np.asarray(within)
    border = normal_steps(label)
    times = [stamp.isoformat(sep=" ") for stamp in table.stamps[border:]]
    return LabelledSeries(name, values[:border], values[border:], label[border:], times, True)


def normal_steps(label: NDArray[np.bool_]) -> int:
    """Return the number of leading steps used as normal data.

    Example:
        >>> label = np.zeros(4000, dtype=bool)
        >>> normal_steps(label)
        1000
        >>> label[900] = True
        >>> normal_steps(label)
        800
    """
    first = int(label.argmax()) if label.any() else len(label) + MARGIN
    probation = min(int(len(label) * 0.15), 750)
    return max(min(int(len(label) * TRAIN_SHARE), first - MARGIN), probation)
