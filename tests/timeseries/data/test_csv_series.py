"""Own CSV files: what is handled, and what is refused with file, line and column."""

from pathlib import Path

import numpy as np
import pytest

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_timeseries.data.csv_series import CsvData


def text(*rows: str, header: str = "time,a,b") -> str:
    return "\n".join([header, *rows]) + "\n"


def hours(count: int, start: int = 0) -> list[str]:
    return [f"2020-01-{1 + h // 24:02} {h % 24:02}:00,{h},{2 * h}" for h in range(start, start + count)]


@pytest.fixture
def read(tmp_path):
    def of(content: str | bytes, **options):
        path = tmp_path / "own.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return CsvData(lookback=4, horizon=2, path=path, **options).series

    return of


def test_a_file_is_read_as_it_stands(read):
    series = read(text(*hours(30)))
    assert series.columns == ["a", "b"]
    np.testing.assert_array_equal(series.values[:, 1], 2 * np.arange(30))


def test_one_target_another_separator_time_zone_and_format(read):
    rows = [f"{h};0{1 + h // 24}/01/2020 {h % 24:02}:00" for h in range(30)]
    content = text(*rows, header="b;when")
    series = read(content, time="when", columns=["b"], separator=";", time_format="%d/%m/%Y %H:%M")
    assert series.columns == ["b"]
    assert series.calendar.start == "2020-01-01T00:00:00"
    zoned = read(text(*(row.replace(":00,", ":00+02:00,") for row in hours(30))))
    assert zoned.calendar.start == "2019-12-31T22:00:00"


def test_rows_out_of_order_are_sorted_and_said(read):
    rows = hours(30)
    rows[3], rows[20] = rows[20], rows[3]
    with pytest.warns(UserWarning, match=r"own\.csv, line 6: .* have been sorted"):
        series = read(text(*rows))
    np.testing.assert_array_equal(series.values[:, 0], np.arange(30))


def test_missing_rows_and_cells_are_interpolated_and_said(read):
    rows = hours(30)
    rows[10] = rows[10].rsplit(",", 1)[0] + ","  # an empty cell of b
    rows[11] = rows[11].rsplit(",", 1)[0] + ",NaN"
    del rows[20:22]
    with pytest.warns(UserWarning, match="own.csv, ") as seen:
        series = read(text(*rows))
    told = [str(warning.message).partition("own.csv, ")[2] for warning in seen]
    assert [message.partition(" and were")[0] for message in told] == [
        "column 'a': 2 of 30 values are missing",
        "column 'b': 4 of 30 values are missing",
    ]
    assert "at most 2 in a row, from 2020-01-01 20:00:00 on" in told[0]
    np.testing.assert_allclose(series.values, np.arange(30)[:, None] * [1, 2])


def test_previous_values_fill_gaps_if_asked(read):
    rows = hours(30)
    del rows[20:22]
    with pytest.warns(UserWarning, match=r"filled \(previous\)"):
        series = read(text(*rows), fill="previous", columns=["a"])
    assert series.values[18:24, 0].tolist() == [18, 19, 19, 19, 22, 23]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.insert(5, rows[4]), r"line 7: the stamp 2020-01-01 04:00:00 stands in line 6"),
        (lambda rows: rows.insert(5, "2020-01-01 04:20,1,1"), r"line 7: 2020-01-01 04:20:00 is not a whole"),
        (
            lambda rows: rows.__setitem__(7, "2020-01-01 07:00,7,abc"),
            r"line 9, column 'b': 'abc' is no finite",
        ),
        (lambda rows: rows.__setitem__(7, "2020-01-01 07:00,inf,1"), r"line 9, column 'a': 'inf'"),
        (lambda rows: rows.__setitem__(7, "yesterday,7,8"), r"line 9, column 'time': 'yesterday' is no time"),
        (lambda rows: rows.__setitem__(7, "2020-01-01 07:00,7"), r"line 9: 2 cells, but line 1 has 3"),
        (
            lambda rows: rows.__setitem__(7, "2020-01-01 07:00,7,8,9"),
            r"line 9: 4 cells, but line 1 has 3",
        ),
        (
            lambda rows: rows.__delitem__(slice(3, 40)),
            r"37 values in a row are missing from 2020-01-01 03:00",
        ),
        (lambda rows: rows.clear(), r"own\.csv has a header and no rows"),
        (lambda rows: rows.__delitem__(slice(1, None)), r"own\.csv has one row"),
    ],
)
def test_what_cannot_be_mended_is_named(read, change, message):
    rows = hours(60)
    change(rows)
    with pytest.raises(DataError, match=message):
        read(text(*rows))


def test_gaps_can_be_forbidden(read):
    rows = hours(30)
    del rows[20]
    with pytest.raises(DataError, match=r"column 'a': 1 values are missing, 1 of them from 2020-01-01 20:00"):
        read(text(*rows), fill="error")


def test_an_empty_column_a_wrong_name_and_no_utf8_are_named(read):
    with pytest.raises(DataError, match="column 'b' is empty"):
        read(text(*(row.rsplit(",", 1)[0] + "," for row in hours(30))))
    with pytest.raises(DataError, match=r"no column 'c'; it has: time, a, b"):
        read(text(*hours(30)), columns=["c"])
    with pytest.raises(DataError, match=r"line 1: 2 columns are called 'a'"):
        read(text(*hours(30), header="time,a,a"))
    with pytest.raises(DataError, match="not UTF-8"):
        read(text(*hours(3)).encode() + b"\xff\xfe")


def test_there_must_be_a_file():
    with pytest.raises(ArgumentError, match=r"--data\.path is missing"):
        CsvData().read()
    with pytest.raises(DataError, match=r"there is no file nowhere\.csv"):
        CsvData(path=Path("nowhere.csv")).read()


def test_splits_by_shares_and_by_dates(read, tmp_path):
    read(text(*hours(100)))
    path = tmp_path / "own.csv"
    by_shares = CsvData(4, 2, path=path, split=(0.6, 0.2, 0.2))
    assert by_shares.borders(by_shares.series) == (60, 80, 100)
    by_dates = CsvData(4, 2, path=path, val_from="2020-01-03 00:30", test_from="2020-01-04")
    assert by_dates.borders(by_dates.series) == (49, 72, 100)
    late = CsvData(4, 2, path=path, val_from="2020-01-03", test_from="2021-01-01")
    with pytest.raises(DataError, match="one after the other"):
        late.borders(late.series)
    with pytest.raises(ValueError, match="go together"):
        CsvData(path=path, val_from="2020-01-03")
    with pytest.raises(ValueError, match="sum to 1"):
        CsvData(path=path, split=(0.5, 0.1, 0.2))
