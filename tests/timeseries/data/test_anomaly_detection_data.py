"""Series to be judged: what is learned from, what is judged, what is refused."""

import json
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import torch

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_cli.signatures import signature
from recollect_timeseries.data.csv_anomalies import CsvAnomalyData
from recollect_timeseries.data.labelled_series import NormalWindows
from recollect_timeseries.data.nab import NabData, normal_steps
from recollect_timeseries.data.periodicity import estimate_period
from recollect_timeseries.data.smap import SmapData, unpack

HEADER = "chan_id,spacecraft,anomaly_sequences,class,num_values\n"


@pytest.fixture
def smap(tmp_path, monkeypatch):
    """Two channels; the second stands twice in the table, as P-2 does."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    folder = tmp_path / "SMAP"
    chance = np.random.default_rng(0)
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        for name in ("A-1", "P-2"):
            np.save(folder / part / f"{name}.npy", chance.normal(size=(60, 25)))
    (folder / "labeled_anomalies.csv").write_text(
        f'{HEADER}A-1,SMAP,"[[10, 12]]",[point],60\nM-1,MSL,"[[0, 5]]",[point],60\n'
        'P-2,SMAP,"[[20, 20]]",[point],60\nP-2,SMAP,"[[30, 31]]",[point],60\n'
    )
    return folder


@pytest.fixture
def nab(tmp_path, monkeypatch):
    """One series of 400 steps with a window, and one without."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    folder = tmp_path / "NAB"
    stamps = pd.date_range("2014-01-01", periods=400, freq="3min")
    for name in ("real/a", "art/b"):
        path = folder / "data" / f"{name}.csv"
        path.parent.mkdir(parents=True)
        rows = "".join(f"{s},{i % 7}\n" for i, s in enumerate(stamps))
        path.write_text(f"timestamp,value\n{rows}")
    (folder / "labels").mkdir()
    # 10 h is step 200, 10 h 30 is step 210.
    windows = {"real/a.csv": [["2014-01-01 10:00:00.0", "2014-01-01 10:30:00.0"]], "art/b.csv": []}
    (folder / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    return folder


def own(tmp_path, text: str, **arguments) -> CsvAnomalyData:
    path = tmp_path / "own.csv"
    path.write_text(text)
    return CsvAnomalyData(**{"window": 4, "path": path, "label": "wrong", **arguments})


def plain(rows: int, bad: dict[int, str] | None = None) -> str:
    """``a,b,wrong`` with a wave; ``bad`` replaces the rows of those numbers."""
    lines = [f"{np.sin(i):.4f},{i % 5},{int(i == rows - 2)}" for i in range(rows)]
    for row, line in (bad or {}).items():
        lines[row] = line
    return "a,b,wrong\n" + "\n".join(lines) + "\n"


# --- SMAP -----------------------------------------------------------------------------------------------


def test_smap_ranges_are_inclusive_and_all_rows_of_a_channel_count(smap):
    data = SmapData(window=8)
    data.prepare_data()
    assert data.channels == ["A-1", "P-2"]
    first, second = data.series
    assert np.flatnonzero(first.label).tolist() == [10, 11, 12]
    assert np.flatnonzero(second.label).tolist() == [20, 30, 31]
    assert first.values.shape == (60, 1)  # the telemetry value alone
    assert SmapData(window=8, commands=True).series[0].values.shape == (60, 25)


def test_smap_channel_by_name(smap):
    assert SmapData(window=8, channel="P-2").channels == ["P-2"]
    with pytest.raises(ArgumentError, match=r"P-3.*A-1, P-2"):
        SmapData(window=8, channel="P-3").read()


def test_msl_stands_in_the_same_folder(smap):
    for part in ("train", "test"):
        np.save(smap / part / "M-1.npy", np.random.default_rng(0).normal(size=(60, 55)))
    data = SmapData(window=8, spacecraft="MSL", commands=True)
    assert data.channels == ["M-1"]
    assert data.series[0].values.shape == (60, 55)
    assert np.flatnonzero(data.series[0].label).tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match='"SMAP" or "MSL"'):
        SmapData(spacecraft="Voyager")


def test_smap_of_another_length_or_damaged_is_refused(smap):
    np.save(smap / "test" / "A-1.npy", np.zeros((59, 25)))
    with pytest.raises(DataError, match=r"A-1\.npy has 59 steps, but its label says 60"):
        SmapData(window=8).read()
    (smap / "train" / "A-1.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"A-1\.npy cannot be read"):
        SmapData(window=8).read()
    np.save(smap / "train" / "A-1.npy", np.full((60, 25), np.nan))
    with pytest.raises(DataError, match="finite"):
        SmapData(window=8).read()
    (smap / "labeled_anomalies.csv").write_text(f"{HEADER}M-1,MSL,[],[],5\nA-1,SMAP,[[1],[],60\n")
    with pytest.raises(DataError, match=r"labeled_anomalies\.csv, line 3"):
        SmapData(window=8).read()


def test_smap_is_unpacked_from_the_official_archive(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 25)))
    with ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(tmp_path / "x.npy", "data/train/A-1.npy")
        archive.write(tmp_path / "x.npy", "data/2018/model.npy")
    unpack(tmp_path / "data.zip", tmp_path)
    assert [path.name for path in tmp_path.rglob("A-1.npy")] == ["A-1.npy"]
    assert not list(tmp_path.rglob("model.npy"))
    (tmp_path / "data.zip").write_bytes(b"cut off")
    with pytest.raises(DataError, match="damaged"):
        unpack(tmp_path / "data.zip", tmp_path)


# --- NAB ------------------------------------------------------------------------------------------------


def test_nab_learns_from_the_beginning_and_judges_the_rest(nab):
    data = NabData(window=8)
    data.prepare_data()
    without, series = data.series
    assert (data.channels, len(series.normal), len(series.values)) == (["art/b", "real/a"], 100, 300)
    assert np.flatnonzero(series.label).tolist() == list(range(100, 111))
    assert series.times[100] == "2014-01-01 10:00:00"
    assert not without.label.any()
    assert len(data.dataset("test")[1].context) == 100  # what a stream has seen by then


@pytest.mark.parametrize(
    ("steps", "first", "expected"), [(4000, 3000, 1000), (4000, 650, 600), (20_000, 800, 750)]
)
def test_nab_never_learns_from_an_anomaly(steps, first, expected):
    label = np.zeros(steps, dtype=bool)
    label[first:] = True
    assert normal_steps(label) == expected
    assert expected <= first


def test_a_window_outside_the_series_is_refused(nab):
    path = nab / "labels" / "combined_windows.json"
    path.write_text(json.dumps({"real/a.csv": [["2015-01-01", "2015-01-02"]]}))
    with pytest.raises(DataError, match="has no row within its window"):
        NabData(window=8).read()
    path.write_text("[")
    with pytest.raises(DataError, match="no list of windows"):
        NabData(window=8).read()


# --- one's own ------------------------------------------------------------------------------------------


def test_own_file_without_time(tmp_path):
    data = own(tmp_path, plain(40))
    series = data.series[0]
    assert (data.columns, series.normal.shape, series.values.shape) == (["a", "b"], (10, 2), (30, 2))
    assert np.flatnonzero(series.label).tolist() == [28]
    assert series.times[0] == "10"


def test_own_file_has_no_channel_to_choose():
    assert "channel" not in signature("recollect_timeseries.data.csv_anomalies.CsvAnomalyData").parameters
    with pytest.raises(TypeError, match="channel"):
        CsvAnomalyData(channel="a")


def test_own_file_with_time_and_without_label(tmp_path):
    rows = "".join(f"2020-01-01 00:{i:02}:00,{i % 3},{i}\n" for i in range(40))
    data = own(tmp_path, f"when,x,y\n{rows}", columns=["y"], label=None)
    series = data.series[0]
    assert (data.columns, series.label, series.times[0]) == (["y"], None, "2020-01-01 00:10:00")


def test_prediction_is_of_every_row_scaled_as_in_training(tmp_path):
    data = own(tmp_path, plain(40))
    item = data.dataset("predict")[0]
    assert len(item.values) == 40
    later = own(tmp_path, plain(20))
    later.load_state_dict(data.state_dict())
    torch.testing.assert_close(later.dataset("predict")[0].values, item.values[:20])
    other = own(tmp_path, "x\n1\n2\n3\n")
    other.load_state_dict(data.state_dict())
    with pytest.raises(DataError, match="has the columns x; the detector has learned a, b"):
        other.dataset("predict")


def test_a_file_of_what_is_normal(tmp_path):
    (tmp_path / "normal.csv").write_text(plain(30))
    data = own(tmp_path, plain(40), normal_path=tmp_path / "normal.csv")
    assert (len(data.series[0].normal), len(data.series[0].values)) == (30, 40)
    (tmp_path / "normal.csv").write_text("a,wrong\n1,0\n")
    with pytest.raises(DataError, match=r"normal\.csv has the columns a, but"):
        own(tmp_path, plain(40), normal_path=tmp_path / "normal.csv").read()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (plain(40, {4: "1.5,oops,0"}), r"own\.csv, line 6, column 'b': 'oops' is no finite number"),
        (plain(40, {4: "1.5,2,2"}), r"own\.csv, line 6, column 'wrong': '2' is no label"),
        (plain(40, {4: "1.5,2"}), r"own\.csv, line 6: 2 cells"),
        (plain(6), r"there are 1 normal rows to learn from, 0 without validation; a window of 4"),
        ("t,x\n2020-01-02,1\n2020-01-01,2\n", r"own\.csv, line 3, column 't': .* does not come after"),
        ("t,x\n2020-01-02,1\n2020-01-02,2\n", r"own\.csv, line 3, column 't': .* does not come after"),
        ("x,wrong\n\n", "line 1, column 'column 1': 'x' is no finite number"),
        ("t\n2020-01-01\n", "no column of numbers"),
        ("x,y\n1,\n2,\n", r"column 'y' is empty"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        _ = own(tmp_path, text).fitted


def test_empty_cells_are_filled_with_what_was_before(tmp_path):
    with pytest.warns(UserWarning, match="column 'a': 2 of 40 cells are empty, the first in line 2"):
        values = own(tmp_path, plain(40, {0: ",0,0", 5: "nan,0,0"})).rows.values
    assert values[0, 0] == values[1, 0]
    assert values[5, 0] == values[4, 0]


def test_a_constant_column_is_told_and_not_divided_by_zero(tmp_path):
    data = own(tmp_path, plain(40, {i: f"7,{i % 5},0" for i in range(10)}))
    with pytest.warns(UserWarning, match="column 'a' is constant in the 10 normal rows"):
        assert data.fitted["std"][0, 0] == 1
    assert data.dataset("test")[0].values.isfinite().all()


def test_labels_do_not_change_what_is_learned(tmp_path):
    """Nor does what is judged, unless ``transductive`` says so."""
    one, other = own(tmp_path, plain(40)), own(tmp_path, plain(40, {38: "99,99,0"}))
    torch.testing.assert_close(one.fitted["std"], other.fitted["std"])
    aware = own(tmp_path, plain(40, {38: "99,99,0"}), transductive=True)
    assert aware.fitted["std"][0, 0] > 3 * one.fitted["std"][0, 0]
    assert "learned from what is judged, without its labels" in aware.notes
    assert len(one.notes) == len(aware.notes) - 1


# --- parts ----------------------------------------------------------------------------------------------


def test_validation_ends_where_training_data_do_and_shares_no_end_with_them(tmp_path):
    data = own(tmp_path, plain(80), held_out=0.25)
    (train,), (normal,) = data.normal("train"), data.normal("val")
    assert (len(train), len(normal)) == (15, 20)
    held_out = data.dataset("val")
    torch.testing.assert_close(held_out[0][0], normal[12:16])  # the first to end in validation
    assert len(held_out) == 5


def test_every_channel_gives_all_its_windows():
    long, short = torch.arange(20.0)[:, None], torch.arange(100.0, 107)[:, None]
    windows = NormalWindows([long, short], window=3)
    seen = torch.stack([windows[i][:, 0, 0] for i in range(len(windows))])
    assert seen[:, 0].tolist() == list(range(18))
    assert set(seen[:, 1].tolist()) == {100, 101, 102, 103, 104}
    with pytest.raises(ValueError, match="fewer than a window"):
        NormalWindows([long, short], window=8)


def test_period():
    t = np.arange(2000)
    assert estimate_period(np.sin(2 * np.pi * t / 50) + 0.1 * np.cos(t)) == 50
    assert estimate_period(np.ones(100)) == 125
    assert estimate_period(np.array([1.0])) == 125
