"""CSV tables with optional timestamps and labels, whose rows count as evenly spaced."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from recollect.training import DataError
from recollect_timeseries.data.table import parse_numbers, parse_stamps, read_cells


class LabelledTable(NamedTuple):
    """Values, labels and times of a file.

    Attributes:
        columns: Names of the C columns of numbers.
        values: ``(T, C)`` float64, without gaps.
        label: ``(T,)`` bool, or ``None`` without a label column.
        times: Timestamps or row numbers, as text.
    """

    columns: list[str]
    values: NDArray[np.float64]
    label: NDArray[np.bool_] | None
    times: list[str]


def read_labelled_table(
    path: Path,
    time: str | None = None,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    time_format: str | None = None,
    separator: str = ",",
) -> LabelledTable:
    """Read a UTF-8 CSV file with a header.

    Args:
        path: The file.
        time: Name of the time column; by default the first column, unless it starts with a number.
        label: Name of the label column, which may be absent.
        columns: Names of the value columns; all others by default.
        time_format: ``strptime`` format of the timestamps; ISO 8601 by default.
        separator: Cell separator.

    Raises:
        DataError: If the file is malformed; the message names file, line and column.
    """
    cells = read_cells(path, separator)
    header = [str(name) for name in cells.columns]
    lines = cells.index.to_numpy(dtype=np.int64) + 2  # the header is line 1
    if time is None and not _is_number(str(cells.iloc[0, 0])):
        time = header[0]
    wanted = [name for name in header if name not in (time, label)] if columns is None else list(columns)
    for name in (*([] if time is None else [time]), *wanted):
        if name not in header:
            raise DataError(f"{path} has no column {name!r}; it has: {', '.join(header)}")
    if not wanted:
        raise DataError(f"{path} has no column of numbers; it has: {', '.join(header)}")
    values = np.column_stack([parse_numbers(path, cells[name], lines) for name in wanted])
    return LabelledTable(
        wanted,
        _filled(path, values, wanted, lines),
        _labels(path, cells[label], lines) if label in header else None,
        _times(path, cells, time, lines, time_format),
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text.strip()
    return True


def _times(
    path: Path, cells: pd.DataFrame, time: str | None, lines: NDArray[np.int64], form: str | None
) -> list[str]:
    if time is None:
        return [str(row) for row in range(len(cells))]
    stamps = parse_stamps(path, cells[time], lines, form)
    late = np.flatnonzero(stamps[1:] <= stamps[:-1])
    if len(late):
        row = late[0] + 1
        raise DataError(
            f"{path}, line {lines[row]}, column {time!r}: {stamps[row]} does not come after "
            f"{stamps[row - 1]}; rows must stand in the order of time"
        )
    return [stamp.isoformat(sep=" ") for stamp in stamps]


def _labels(path: Path, cells: "pd.Series[str]", lines: NDArray[np.int64]) -> NDArray[np.bool_]:
    numbers = parse_numbers(path, cells, lines)
    bad = np.flatnonzero(~np.isin(numbers, (0, 1)))
    if len(bad):
        raise DataError(
            f"{path}, line {lines[bad[0]]}, column {cells.name!r}: {cells.iloc[bad[0]]!r} is no label, "
            "0 for normal or 1 for anomalous"
        )
    return np.equal(numbers, 1)


def _filled(
    path: Path, values: NDArray[np.float64], columns: list[str], lines: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Fill missing values with the previous one, as a stream would."""
    for c, name in enumerate(columns):
        missing = np.isnan(values[:, c])
        if missing.all():
            raise DataError(f"{path}, column {name!r} is empty; --data.columns names the columns to take")
        if missing.any():
            rank_zero_warn(
                f"{path}, column {name!r}: {int(missing.sum())} of {len(missing)} cells are empty, the first "
                f"in line {lines[missing.argmax()]}; the value before stands in for them"
            )
    return pd.DataFrame(values).ffill().bfill().to_numpy(copy=True)
