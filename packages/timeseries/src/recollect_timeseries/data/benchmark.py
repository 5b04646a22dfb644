"""Files of published benchmarks, whose rows count as evenly spaced, as in the literature."""

from pathlib import Path

import numpy as np

from recollect.training import DataError
from recollect_timeseries.data.calendar import Calendar
from recollect_timeseries.data.series import Series
from recollect_timeseries.data.table import read_table


def read_benchmark(path: Path, rows: int, columns: int) -> Series:
    """Read a file of known size; each row is one step, regardless of its timestamp.

    Raises:
        DataError: If the size differs or a value is missing.
    """
    table = read_table(path)
    if table.values.shape != (rows, columns):
        found = " × ".join(map(str, table.values.shape))
        raise DataError(
            f"{path} has {found} values, but {rows} × {columns} were expected: it is of another version"
        )
    bad = np.argwhere(np.isnan(table.values))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{path}, line {table.lines[row]}, column {table.columns[column]!r}: the value is missing"
        )
    return Series(str(path), Calendar.infer(table.stamps), 0, table.columns, table.values)
