"""Series as people keep them: large offsets, headers, times, offsets from UTC, long tables, fill values."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_timeseries.data.csv_anomalies import CsvAnomalyData
from recollect_timeseries.data.csv_series import CsvData

STEPS = np.arange(200)
WAVE = np.sin(STEPS / 6)


def write(folder: Path, text: str) -> Path:
    path = folder / "own.csv"
    path.write_text(text, encoding="utf-8")
    return path


def table(times: Any, values: Any, header: str = "time,v") -> str:
    return "\n".join([header, *(f"{t},{v}" for t, v in zip(times, values, strict=True))]) + "\n"


def hourly(count: int = 200) -> list[str]:
    return [str(stamp) for stamp in pd.date_range("2020-01-01", periods=count, freq="h")]


def forecasting(folder: Path, text: str, **arguments: Any) -> CsvData:
    return CsvData(lookback=8, horizon=2, path=write(folder, text), **arguments)


def anomalies(folder: Path, text: str, **arguments: Any) -> CsvAnomalyData:
    return CsvAnomalyData(window=8, path=write(folder, text), **arguments)


@pytest.mark.parametrize("offset", [1e7, 1e9, 1e12])
def test_a_large_mean_costs_no_digits(tmp_path: Path, offset: float):
    small = forecasting(tmp_path, table(hourly(), [f"{v:.6f}" for v in WAVE]))
    expected = small.dataset("test").values
    large = forecasting(tmp_path, table(hourly(), [f"{offset + v:.6f}" for v in WAVE]))
    torch.testing.assert_close(large.dataset("test").values, expected, rtol=1e-3, atol=1e-3)
    back = large.unscale(large.dataset("test").values)
    assert back.dtype == torch.float64
    np.testing.assert_allclose(back[:, 0].numpy() - offset, WAVE, atol=2e-3)


@pytest.mark.parametrize("kind", [forecasting, anomalies])
def test_a_file_without_a_header_loses_no_row(tmp_path: Path, kind: Any):
    data = kind(tmp_path, table(hourly()[1:], WAVE[1:], f"{hourly()[0]},{WAVE[0]}"))
    values = data.series.values if kind is forecasting else data.rows.values
    assert values.shape == (200, 1)
    assert "time = 'column 1', " in data.notes[0]
    assert "values = 'column 2'" in data.notes[0]


def test_a_series_without_header_or_dates_takes_a_step(tmp_path: Path):
    text = "\n".join(f"{v:.4f}" for v in WAVE) + "\n"
    with pytest.raises(DataError, match=r"own\.csv has no column of times: --data\.time .*, --data\.step 1h"):
        _ = forecasting(tmp_path, text).series
    data = forecasting(tmp_path, text, step="15min")
    assert data.series.values.shape == (200, 1)
    assert data.series.calendar.step == 15 * 60 * 10**9
    with pytest.raises(ValueError, match='step must be a positive time such as "1h"'):
        CsvData(step="soon")
    with pytest.raises(ValueError, match="step is for files without a time column"):
        CsvData(step="1h", time="t")


@pytest.mark.parametrize("missing", ["NA", "null", "None", "", "NaN"])
def test_a_first_cell_may_be_missing(tmp_path: Path, missing: str):
    values = [missing, *(f"{v:.4f}" for v in WAVE[1:])]
    text = "v,w\n" + "".join(f"{v},{step % 7}\n" for v, step in zip(values, STEPS, strict=True))
    with pytest.warns(UserWarning, match="1 of 200 cells are empty, the first in line 2"):
        assert anomalies(tmp_path, text).rows.columns == ["v", "w"]


def test_the_index_of_pandas_is_no_input(tmp_path: Path):
    text = ",date,v\n" + "".join(f"{i},{t},{i % 5}\n" for i, t in enumerate(hourly()))
    assert forecasting(tmp_path, text).series.columns == ["v"]
    assert anomalies(tmp_path, text).rows.columns == ["v"]


def test_dates_of_the_format_are_the_borders_too(tmp_path: Path):
    days = [stamp.strftime("%d/%m/%Y") for stamp in pd.date_range("2019-01-01", periods=365)]
    text = table(days, np.sin(np.arange(365) / 9))
    borders = {"val_from": "01/09/2019", "test_from": "01/11/2019"}
    data = forecasting(tmp_path, text, time_format="%d/%m/%Y", **borders)
    assert data.borders(data.series)[:2] == (243, 304)
    iso = forecasting(tmp_path, text, time_format="%d/%m/%Y", val_from="2019-09-01", test_from="2019-11-01")
    assert iso.borders(iso.series)[:2] == (243, 304)
    plain = forecasting(
        tmp_path, table(pd.date_range("2019-01-01", periods=365), STEPS.repeat(2)[:365]), **borders
    )
    with pytest.raises(
        ArgumentError, match=r"--data\.val_from '01/09/2019' is no time stamp, read as ISO 8601"
    ):
        plain.borders(plain.series)


@pytest.mark.parametrize("start", ["2019-04-30", "2020-02-29", "2019-06-30", "2019-01-31", "2019-01-30"])
@pytest.mark.parametrize("months", [1, 3, 12])
def test_months_that_begin_on_a_last_day_are_even(tmp_path: Path, start: str, months: int):
    same_day = [pd.Timestamp(start) + pd.DateOffset(months=months * i) for i in range(120)]
    data = forecasting(tmp_path, table([stamp.date() for stamp in same_day], np.sin(np.arange(120))))
    assert data.series.calendar.months == months
    assert list(data.series.calendar.stamps(np.arange(120))) == same_day


@pytest.mark.parametrize("year", ["1500", "1677", "2262", "3000"])
def test_years_that_do_not_fit_are_named(tmp_path: Path, year: str):
    text = "time,v\n2000-01-01,0\n" + f"{year}-01-01,1\n"
    with pytest.raises(
        DataError, match=rf"line 3, column 'time': '{year}-01-01' is not in the years 1678 to 2261"
    ):
        _ = forecasting(tmp_path, text).series


def test_local_midnights_over_a_change_of_the_clock_are_days(tmp_path: Path):
    days = pd.date_range("2020-03-01", periods=100, tz="Europe/Berlin")
    data = forecasting(tmp_path, table([stamp.isoformat() for stamp in days], STEPS[:100]))
    assert data.series.values[:, 0].tolist() == STEPS[:100].tolist()
    assert data.stamps(28, 2) == ["2020-03-29 00:00:00", "2020-03-30 00:00:00"]


def test_local_hours_over_a_change_of_the_clock_are_utc(tmp_path: Path):
    hours = pd.date_range("2020-10-20", periods=200, freq="h", tz="Europe/Berlin")
    data = forecasting(tmp_path, table([stamp.isoformat() for stamp in hours], STEPS))
    assert data.series.values[:, 0].tolist() == STEPS.tolist()
    assert data.series.calendar.start == "2020-10-19T22:00:00"


@pytest.mark.parametrize("unit", [1, 1000, 10**6, 10**9])
def test_numbers_since_1970_are_times(tmp_path: Path, unit: int):
    data = forecasting(tmp_path, table([(1577836800 + 3600 * i) * unit for i in STEPS], WAVE, "timestamp,v"))
    assert data.stamps(0, 2) == ["2020-01-01 00:00:00", "2020-01-01 01:00:00"]


def test_a_long_table_has_a_column_for_each_series(tmp_path: Path):
    rows = [
        f"{name},{stamp},{value + shift}"
        for name, shift in (("b", 10), ("a", 0))
        for stamp, value in zip(hourly(50), STEPS[:50], strict=True)
    ]
    data = forecasting(tmp_path, "unique_id,ds,y\n" + "\n".join(rows) + "\n")
    assert data.series.columns == ["a", "b"]
    np.testing.assert_array_equal(data.series.values, np.stack([STEPS[:50], STEPS[:50] + 10], 1))
    assert "series = 'unique_id': 'a', 'b'" in data.notes[0]
    with pytest.raises(DataError, match=r"line 102: 'a' has a row at 2020-01-01 03:00:00 already"):
        _ = forecasting(tmp_path, "unique_id,ds,y\n" + "\n".join([*rows, rows[53]]) + "\n").series


def test_decimal_commas_are_read_between_semicolons(tmp_path: Path):
    text = "Datum;Wert\n" + "".join(
        f"{t};{v:.3f}\n".replace(".", ",") for t, v in zip(hourly(), WAVE, strict=True)
    )
    np.testing.assert_allclose(forecasting(tmp_path, text).series.values[:, 0], WAVE, atol=1e-3)


def test_a_label_that_is_spelt_otherwise_is_no_input(tmp_path: Path):
    text = "time,v,label\n" + "".join(f"{t},{v:.3f},0\n" for t, v in zip(hourly(), WAVE, strict=True))
    with pytest.raises(DataError, match=r"no column 'Label'; it has: time, v, label; --data\.label label\?"):
        _ = anomalies(tmp_path, text, label="Label").series
    found = anomalies(tmp_path, text)
    assert found.rows.columns == ["v"]
    assert found.rows.label is not None
    with pytest.raises(DataError, match="no column 'attack'"):
        _ = anomalies(tmp_path, "v,w\n" + "1,2\n" * 50, label="attack").series


def test_labels_may_be_true_and_false(tmp_path: Path):
    text = "v,is_anomaly\n" + "".join(f"{v:.3f},{step == 150}\n" for step, v in zip(STEPS, WAVE, strict=True))
    label = anomalies(tmp_path, text).rows.label
    assert label is not None
    assert label.nonzero()[0].tolist() == [150]


def test_a_file_to_predict_needs_no_labels(tmp_path: Path):
    text = "v,label\n" + "".join(f"{v:.3f},0\n" for v in WAVE)
    trained = anomalies(tmp_path, text, label="label")
    state = trained.state_dict()
    later = anomalies(tmp_path, "v\n" + "".join(f"{v:.3f}\n" for v in WAVE), label="label")
    later.load_state_dict(state)
    assert len(later.dataset("predict")) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("fill", ["1e30", "-1e30", "9.9e36"])
def test_a_fill_value_is_named(tmp_path: Path, fill: str):
    values = [f"{v:.4f}" for v in WAVE]
    values[190] = fill
    text = "v,label\n" + "".join(f"{v},0\n" for v in values)
    data = anomalies(tmp_path, text)
    with pytest.raises(DataError, match=r"own\.csv, line 192, column 'v': .* standard deviations away"):
        data.dataset("test")
    series = forecasting(tmp_path, table(hourly(), values))
    with pytest.raises(
        DataError, match=r"own\.csv, column 'v', 2020-01-08 22:00:00: .* standard deviations away"
    ):
        series.dataset("test")


def test_large_values_are_read(tmp_path: Path):
    data = forecasting(tmp_path, table(hourly(), [f"{1e39 * v:.6e}" for v in WAVE]))
    np.testing.assert_allclose(
        data.unscale(data.dataset("test").values)[:, 0], 1e39 * WAVE, rtol=1e-4, atol=1e34
    )


@pytest.mark.parametrize("name", ["date", "Time", "ds", "timestamp", "Datum"])
def test_the_time_column_is_found_by_its_name(tmp_path: Path, name: str):
    text = f"v,{name}\n" + "".join(f"{v:.3f},{t}\n" for t, v in zip(hourly(), WAVE, strict=True))
    assert forecasting(tmp_path, text).series.columns == ["v"]
    assert anomalies(tmp_path, text).rows.columns == ["v"]


def test_two_columns_of_times_are_a_conflict(tmp_path: Path):
    text = "time,date,v\n" + "".join(f"{t},{t},1\n" for t in hourly())
    with pytest.raises(DataError, match=r"line 1: 'time' and 'date' may both be the timestamp"):
        _ = forecasting(tmp_path, text).series
    assert forecasting(tmp_path, text, time="date", columns=["v"]).series.columns == ["v"]
