"""NAB, the Numenta Anomaly Benchmark: 58 series of one value each."""

import json
from pathlib import Path
from typing import final

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
"""Share of a series to learn from."""

MARGIN = 100
"""Steps between the last one learnt from and the first anomalous one."""


@final
class NabData(AnomalyData):
    """Series of servers, advertising, traffic, tweets and machines (Ahmad et al. 2017, Neurocomputing 262).

    The files have no training split. As in TSB-AD (Liu & Paparrizos 2024, NeurIPS) the first quarter is
    learnt from, or less where an anomaly comes early: it ends 100 steps before the first window of the
    labels. It has at least NAB's own probationary period, 15 % of the series or 750 steps, in which there
    never is an anomaly. What follows is judged. A series without a labelled window after that is judged like
    the others, but no metric of ranking can be computed of it. Labels are NAB's windows, 10 % of a series
    shared among its anomalies. Rows are taken one after the other, whatever their stamps say. Nobody
    publishes checksums; the windows are looked up in the series instead.

    Args:
        window: As in ``AnomalyData``.
        stride: As in ``AnomalyData``.
        batch_size: As in ``AnomalyData``.
        num_workers: As in ``AnomalyData``.
        seed: As in ``AnomalyData``.
        channel: As in ``AnomalyData``: ``realKnownCause/nyc_taxi`` for instance.
        held_out: As in ``AnomalyData``.
        transductive: As in ``AnomalyData``.
    """

    def __init__(
        self,
        window: int = 64,
        stride: int = 4,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        channel: str | None = None,
        held_out: float = 0.2,
        transductive: bool = False,
    ) -> None:
        super().__init__(
            window,
            stride,
            batch_size,
            num_workers,
            seed,
            channel=channel,
            held_out=held_out,
            transductive=transductive,
        )

    def prepare_data(self) -> None:
        """Download what is missing."""
        folder = data_folder("NAB")
        fetch(f"{URL}/{WINDOWS}", None, folder / "labels")
        for name in self.select_channels(sorted(read_windows(folder / WINDOWS))):
            fetch(f"{URL}/data/{name}.csv", None, (folder / "data" / name).parent)

    def read(self) -> list[LabelledSeries]:
        """The series in the order of their names."""
        folder = data_folder("NAB")
        windows = read_windows(folder / WINDOWS)
        return [
            read_series(folder / "data" / f"{name}.csv", name, windows[name])
            for name in self.select_channels(sorted(windows))
        ]

    def column_names(self) -> list[str]:
        """The only one."""
        return ["value"]


Window = tuple[str, str]


def read_windows(path: Path) -> dict[str, list[Window]]:
    """First and last stamp of every window, by series.

    Raises:
        DataError: If the file is damaged.
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
    """One series, cut in two where its normal stretch ends.

    Raises:
        DataError: If it is malformed, or a window does not lie within it.
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
    """How many of the first steps are learnt from.

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
