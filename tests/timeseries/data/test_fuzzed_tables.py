"""Tables of numbers under fuzzing: read rightly, or refused with the file's name."""

import contextlib
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from recollect.training import DataError
from recollect_timeseries.data.labelled_table import read_labelled_table
from recollect_timeseries.data.missing import to_series
from recollect_timeseries.data.table import read_table

from ...fuzzed_files import damaged, fuzz, written

NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)
STARTS = st.datetimes(pd.Timestamp("1700-01-01").to_pydatetime(), pd.Timestamp("2200-01-01").to_pydatetime())


@st.composite
def series(draw: Any) -> tuple[pd.DatetimeIndex, np.ndarray, bytes]:
    """Times, values and the file."""
    steps, width = draw(st.integers(3, 12)), draw(st.integers(1, 3))
    values = np.array(
        draw(st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=steps, max_size=steps))
    )
    frequency = draw(st.sampled_from(["15min", "h", "D", "7D", "MS", "ME", "YS"]))
    times = pd.date_range(pd.Timestamp(draw(STARTS)).floor("s"), periods=steps, freq=frequency, unit="ns")
    names = draw(
        st.permutations([draw(st.sampled_from(["time", "date", "ds", "Timestamp"])), *"abc"[:width]])
    )
    columns = {
        name: [f"{v!r}" for v in values[:, place].tolist()] for place, name in enumerate("abc"[:width])
    }
    cells = [
        [columns[name][row] if name in columns else str(times[row]) for name in names] for row in range(steps)
    ]
    order = ["abc".index(name) for name in names if name in columns]
    header = [names] if draw(st.booleans()) or names[0] in columns else []
    return times, values[:, order], draw(written([*header, *cells], [",", "\t", ";", "|"]))


@fuzz(series())
def test_a_series_is_read_as_it_was_written(folder: pytest.TempPathFactory, example: Any) -> None:
    times, values, content = example
    path = folder.getbasetemp() / "series.csv"
    path.write_bytes(content)
    table = read_table(path)
    np.testing.assert_array_equal(table.values, values)
    assert table.stamps.tolist() == times.tolist()
    found = to_series(table)
    np.testing.assert_array_equal(found.values, values)
    assert found.calendar.stamps(np.arange(len(times))).tolist() == times.tolist()
    np.testing.assert_array_equal(read_labelled_table(path).values, values)


@fuzz(series().flatmap(lambda example: damaged(example[2])))
def test_damage_is_refused_with_the_file_or_read(folder: pytest.TempPathFactory, content: bytes) -> None:
    path = folder.getbasetemp() / "damaged.csv"
    path.write_bytes(content)
    for read in (lambda: to_series(read_table(path)), lambda: read_labelled_table(path)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of what is filled and sorted
            with contextlib.suppress(DataError):
                assert np.isfinite(read().values).all()
                continue
            with pytest.raises(DataError, match=r"damaged\.csv"):
                read()
