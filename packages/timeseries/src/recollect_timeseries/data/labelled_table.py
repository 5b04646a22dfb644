"""Text tables with optional timestamps and labels, whose rows count as evenly spaced."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from recollect.training import DataError
from recollect.training.tables import COLUMN_NAMES, kind_of, normalize_name
from recollect_timeseries.data.table import Cells, parse_numbers, read_cells, shortened
from recollect_timeseries.data.timestamps import looks_like_times, parse_stamps

LABELS = {"true": "1", "false": "0"}


class LabelledTable(NamedTuple):
    """Values, labels and times of a file.

    Attributes:
        path: The file, in messages.
        columns: Names of the C columns of numbers.
        values: ``(T, C)`` float64, without gaps.
        label: ``(T,)`` bool, or ``None`` without a label column.
        times: Timestamps or row numbers, as text.
        lines: ``(T,)`` line number of each row.
        note: Which column was read as what.
    """

    path: str
    columns: list[str]
    values: NDArray[np.float64]
    label: NDArray[np.bool_] | None
    times: list[str]
    lines: NDArray[np.int64]
    note: str


def read_labelled_table(
    path: Path,
    time: str | None = None,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    time_format: str | None = None,
    separator: str | None = None,
    header: bool | None = None,
    unlabelled: bool = False,
) -> LabelledTable:
    """Read a text table of numbers.

    Args:
        path: The file.
        time: Name of the time column; by default the one called ``time``, ``timestamp`` and so on, or the
            first if it holds dates.
        label: Name of the label column; by default the one called ``label``, ``is_anomaly`` and so on.
        columns: Names of the value columns; all others by default.
        time_format: ``strptime`` format of the timestamps; ISO 8601 by default.
        separator: Cell separator; recognised by default.
        header: Whether the first row names the columns; recognised by default.
        unlabelled: Whether ``label`` may be absent, as in a file to predict.

    Raises:
        DataError: If the file is malformed; the message names file, line and column.
    """
    unnamed = [role for role, name in (("timestamp", time), ("label", label)) if name is None]
    cells = read_cells(path, separator, header, unnamed)
    time = _time_column(cells) if time is None else time
    label = _label_column(cells, label, unlabelled)
    special = [name for name in (time, label) if name is not None]
    others = [name for name in cells.columns if name and name not in special]
    wanted = others if columns is None else list(columns)
    cells.require(*special, *wanted)
    if not wanted:
        raise DataError(f"{path} has no column of numbers; it has: {', '.join(cells.columns)}")
    values = np.column_stack([cells.numbers(name) for name in wanted])
    note = (
        f"{path}: time = {repr(time) if time is not None else 'number of the row'}, "
        f"label = {repr(label) if label is not None else 'none'}, values = {shortened(wanted)}"
    )
    return LabelledTable(
        cells.path,
        wanted,
        _filled(cells, values, wanted),
        None if label is None else _labels(cells, label),
        _times(cells, time, time_format),
        cells.lines,
        note,
    )


def _time_column(cells: Cells) -> str | None:
    first = next(iter(cells.columns))
    if "timestamp" in cells.roles:
        return cells.roles["timestamp"]
    dates = [cell for cell in cells.columns[first] if "-" in cell[1:] or "/" in cell or ":" in cell]
    return first if dates and looks_like_times(cells.columns[first]) else None


def _label_column(cells: Cells, label: str | None, unlabelled: bool) -> str | None:
    if label is None:
        return cells.roles.get("label")
    if label in cells.columns:
        return label
    alike = [
        name
        for name in cells.columns
        if normalize_name(name) == normalize_name(label) or normalize_name(name) in COLUMN_NAMES["label"]
    ]
    if alike or not unlabelled:
        hint = f"; --data.label {alike[0]}?" if alike else ""
        raise DataError(f"{cells.path} has no column {label!r}; it has: {', '.join(cells.columns)}{hint}")
    return None


def _times(cells: Cells, time: str | None, form: str | None) -> list[str]:
    if time is None:
        return [str(row) for row in range(len(cells.lines))]
    text = cells.columns[time]
    if form is None and kind_of(text) == "number" and not looks_like_times(text):  # steps or seconds
        _check_order(cells, time, cells.numbers(time), text)
        return list(text)
    stamps = parse_stamps(cells.path, time, text, cells.lines.tolist(), form)
    _check_order(cells, time, stamps.asi8, [str(stamp) for stamp in stamps])
    return [stamp.isoformat(sep=" ") for stamp in stamps]


def _check_order(cells: Cells, time: str, numbers: NDArray[Any], shown: Sequence[str]) -> None:
    late = np.flatnonzero(~(numbers[1:] > numbers[:-1]))
    if len(late):
        row = late[0] + 1
        raise DataError(
            f"{cells.path}, line {cells.lines[row]}, column {time!r}: {shown[row]} does not come after "
            f"{shown[row - 1]}; rows must stand in the order of time"
        )


def _labels(cells: Cells, label: str) -> NDArray[np.bool_]:
    text = [LABELS.get(cell.lower(), cell) for cell in cells.columns[label]]
    numbers = parse_numbers(cells.path, label, text, cells.lines)
    bad = np.flatnonzero(~np.isin(numbers, (0, 1)))
    if len(bad):
        raise DataError(
            f"{cells.path}, line {cells.lines[bad[0]]}, column {label!r}: {text[bad[0]]!r} is no label, "
            "0 for normal or 1 for anomalous"
        )
    return np.equal(numbers, 1)


def _filled(cells: Cells, values: NDArray[np.float64], columns: list[str]) -> NDArray[np.float64]:
    """Fill missing values with the previous one, as a stream would."""
    for c, name in enumerate(columns):
        missing = np.isnan(values[:, c])
        if missing.all():
            raise DataError(
                f"{cells.path}, column {name!r} is empty; --data.columns names the columns to take"
            )
        if missing.any():
            rank_zero_warn(
                f"{cells.path}, column {name!r}: {int(missing.sum())} of {len(missing)} cells are empty, the "
                f"first in line {cells.lines[missing.argmax()]}; the value before stands in for them"
            )
    return pd.DataFrame(values).ffill().bfill().to_numpy(copy=True)
