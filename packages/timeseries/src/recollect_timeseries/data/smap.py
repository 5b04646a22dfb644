"""SMAP and MSL: telemetry of a NASA satellite and a rover with anomalies labelled by experts."""

import ast
import csv
from pathlib import Path
from typing import Any, Literal, final
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from recollect.training import DataError, data_folder, fetch
from recollect_timeseries.data.anomaly_detection import AnomalyData
from recollect_timeseries.data.labelled_series import LabelledSeries

URL = "https://s3-us-west-2.amazonaws.com/telemanom/data.zip"
LABELS_URL = "https://raw.githubusercontent.com/khundman/telemanom/master/labeled_anomalies.csv"

Spacecraft = Literal["SMAP", "MSL"]

COLUMNS: dict[Spacecraft, int] = {"SMAP": 25, "MSL": 55}
"""Columns of each file: the telemetry value, and a flag for each command."""


@final
class SmapData(AnomalyData):
    """54 channels of SMAP, or 27 of MSL (Hundman et al. 2018, KDD): a telemetry value and command flags.

    The labels refer to the telemetry value, which is the only column by default, as in the paper.

    Each channel has a training file, used as normal data, and a test file; a label is an inclusive range of
    steps. The label table lists P-2 twice; both ranges count. There is no published checksum, so the number
    of steps of each channel is checked against the label table.

    Args:
        window: As in ``AnomalyData``.
        stride: As in ``AnomalyData``.
        batch_size: As in ``AnomalyData``.
        commands: Whether to include the command flags.
        spacecraft: ``"SMAP"``, the satellite, or ``"MSL"``, the rover Curiosity; both are in the same folder.
        options: As in ``AnomalyData``.
    """

    def __init__(
        self,
        window: int = 64,
        stride: int = 4,
        batch_size: int = 16,
        *,
        commands: bool = False,
        spacecraft: Spacecraft = "SMAP",
        **options: Any,
    ) -> None:
        super().__init__(window=window, stride=stride, batch_size=batch_size, **options)
        if spacecraft not in COLUMNS:
            raise ValueError(f'spacecraft must be "SMAP" or "MSL", got {spacecraft!r}')
        self.commands = commands
        self.spacecraft = spacecraft

    def prepare_data(self) -> None:
        """Download and unpack missing files."""
        folder = data_folder("SMAP")
        fetch(LABELS_URL, None, folder)
        if not (folder / "train").is_dir() or not (folder / "test").is_dir():
            unpack(fetch(URL, None, folder), folder)

    def read(self) -> list[LabelledSeries]:
        """Return the channels, sorted by name."""
        folder = data_folder("SMAP")
        table = read_labels(folder / "labeled_anomalies.csv", self.spacecraft)
        columns = COLUMNS[self.spacecraft]
        channels = []
        for name in self.select_channels(sorted(table)):
            steps, ranges = table[name]
            watched = columns if self.commands else 1
            files = (folder / part / f"{name}.npy" for part in ("train", "test"))
            normal, values = (load(file, columns)[:, :watched] for file in files)
            if len(values) != steps:
                raise DataError(
                    f"{folder / 'test' / name}.npy has {len(values)} steps, but its label says {steps}"
                )
            label = np.zeros(steps, dtype=bool)
            for begin, end in ranges:
                label[begin : end + 1] = True
            channels.append(
                LabelledSeries(name, normal, values, label, [str(t) for t in range(steps)], False)
            )
        return channels

    def column_names(self) -> list[str]:
        """Return the names of the telemetry value and the commands."""
        return ["value", *(f"command {c}" for c in range(1, COLUMNS[self.spacecraft]) if self.commands)]


Labels = dict[str, tuple[int, list[tuple[int, int]]]]


def read_labels(path: Path, spacecraft: Spacecraft) -> Labels:
    """Number of steps and anomalous ranges of each channel of a spacecraft.

    Raises:
        DataError: If a row is malformed; the message names the line.
    """
    found: Labels = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        for row in rows:
            if row.get("spacecraft") != spacecraft:
                continue
            try:
                steps = int(row["num_values"])
                ranges = [(int(begin), int(end)) for begin, end in ast.literal_eval(row["anomaly_sequences"])]
            except (KeyError, ValueError, SyntaxError, TypeError) as error:
                raise DataError(f"{path}, line {rows.line_num}: this is no row of labels: {error}") from error
            found.setdefault(row["chan_id"], (steps, []))[1].extend(ranges)
    if not found:
        raise DataError(f"{path} has no channel of {spacecraft}")
    return found


def load(path: Path, columns: int) -> NDArray[np.float64]:
    """The steps of one file, ``(T, columns)``.

    Raises:
        DataError: If it is no such file.
    """
    try:
        values: NDArray[np.float64] = np.load(path, allow_pickle=False).astype(np.float64)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if values.ndim != 2 or values.shape[1] != columns or not np.isfinite(values).all():
        raise DataError(f"{path} should hold rows of {columns} finite numbers, not {values.shape}")
    return values


def unpack(path: Path, folder: Path) -> None:
    """Extract the folders ``train`` and ``test`` from the archive.

    Raises:
        DataError: If the archive is damaged.
    """
    try:
        with ZipFile(path) as archive:
            for name in archive.namelist():
                part = Path(name)
                if part.suffix == ".npy" and part.parent.name in ("train", "test"):
                    target = folder / part.parent.name / part.name
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(archive.read(name))
    except BadZipFile as error:
        raise DataError(f"{path} is damaged: {error}; delete it to have it downloaded again") from error
