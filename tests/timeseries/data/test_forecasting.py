"""Windows, splits and scaling: nothing of the future is seen, and every window counts."""

import numpy as np
import pytest
import torch

from recollect.training import DataError
from recollect_timeseries.data import ett
from recollect_timeseries.data.co2 import Co2Data
from recollect_timeseries.data.csv_series import CsvData
from recollect_timeseries.data.ett import EttData
from recollect_timeseries.data.windows import WindowDataset


@pytest.fixture
def data(write_series):
    return CsvData(lookback=12, horizon=5, batch_size=16, path=write_series(rows=200))


def test_every_window_of_every_split_counts_the_last_batch_too(data):
    counts = {split: len(data.dataset(split)) for split in ("train", "val", "test")}
    assert counts == {"train": 140 - 12 - 5 + 1, "val": 20 - 5 + 1, "test": 40 - 5 + 1}
    seen = torch.cat([batch.clock for batch in data.test_dataloader()])
    assert seen.tolist() == list(range(160, 196))


def test_windows_are_the_series_cut(data):
    values = data.scale(torch.tensor(data.series.values).float())
    batch = data.dataset("val").__getitems__([3, 0])
    assert batch.clock.tolist() == [143, 140]
    torch.testing.assert_close(batch.past[0], values[131:143])
    torch.testing.assert_close(batch.future[0], values[143:148])


def test_training_windows_end_before_validation_begins(data):
    ends = data.dataset("train").origins + data.horizon
    assert int(ends.max()) == data.borders(data.series).val


def test_scaling_looks_at_the_training_split_alone(data):
    learned = data.fit()
    train = data.series.values[:140]
    np.testing.assert_allclose(learned["mean"], train.mean(0), rtol=1e-5)
    np.testing.assert_allclose(learned["std"], train.std(0), rtol=1e-5)
    data.series.values[140:] = 1e6
    again = data.fit()
    torch.testing.assert_close((again["mean"], again["std"]), (learned["mean"], learned["std"]))
    values = torch.randn(3, 2)
    torch.testing.assert_close(data.unscale(data.scale(values)).float(), values)


def test_a_constant_column_is_said_and_does_no_harm(data):
    data.series.values[:, 1] = 7
    with pytest.warns(UserWarning, match="column 'x1' is constant"):
        assert torch.isfinite(data.dataset("train").values).all()


@pytest.mark.parametrize(
    ("lookback", "horizon", "part"),
    [
        (138, 5, "training split has 140 rows and needs 143"),
        (12, 21, "validation split has 20 rows and needs 21"),
    ],
)
def test_a_series_too_short_is_named(write_series, lookback, horizon, part):
    data = CsvData(lookback, horizon, path=write_series(rows=200))
    with pytest.raises(DataError, match=rf"own\.csv: the {part} for lookback {lookback}"):
        data.dataset("train")


def test_prediction_goes_on_after_the_end_on_the_training_calendar(data, write_series):
    data.fit()
    batch = data.dataset("predict").__getitems__([0])
    assert batch.clock.tolist() == [200]
    assert batch.future.isnan().all()
    assert data.stamps(200, 2) == ["2020-01-09 08:00:00", "2020-01-09 09:00:00"]
    kept = {"fitted": data.fitted}
    later = CsvData(12, 5, path=write_series("later.csv", rows=30))
    later.load_state_dict(kept)
    later.series.values[:] += 1
    assert later.dataset("predict").__getitems__([0]).clock.tolist() == [30]


def test_the_test_split_can_be_predicted_horizon_by_horizon(write_series):
    data = CsvData(12, 5, path=write_series(rows=200), forecast="test")
    assert data.dataset("predict").origins.tolist() == list(range(160, 200, 5))


def test_prediction_needs_the_columns_and_the_step_of_training(data, write_series):
    kept = {"fitted": data.fitted}
    for options, message in (
        ({"columns": 3}, "has the columns x0, x1, x2"),
        ({"frequency": "D"}, "a step of 1 day"),
    ):
        other = CsvData(12, 5, path=write_series("other.csv", rows=60, **options))
        other.load_state_dict(kept)
        with pytest.raises(DataError, match=message):
            other.dataset("predict")


def test_a_window_must_lie_within_the_series():
    with pytest.raises(ValueError, match="before the series"):
        WindowDataset(torch.zeros(9, 1), torch.tensor([2]), lookback=3, horizon=1)


def test_ett_borders_and_counts_are_those_of_the_literature(monkeypatch, tmp_path, write_series):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.setattr(ett, "SHA256", dict.fromkeys(ett.SHA256))
    write_series("ett/ETTh1.csv", rows=ett.HOURS, columns=7)
    data = EttData(lookback=96, horizon=96)
    data.prepare_data()
    sizes = [len(data.dataset(split)) for split in ("train", "val", "test")]
    assert sizes == [8449, 2785, 2785]
    batches = [len(batch.past) for batch in data.test_dataloader()]
    assert sum(batches) == 2785
    assert batches[-1] == 2785 % 256


def test_a_file_of_another_size_is_refused(monkeypatch, tmp_path, write_series):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    write_series("ett/ETTm2.csv", rows=50, columns=7)
    with pytest.raises(DataError, match=r"ETTm2\.csv has 50 × 7 values, but 69680 × 7"):
        EttData(series="ETTm2").read()
    write_series("ett/ETTh1.csv", rows=50, columns=7)
    with pytest.raises(DataError, match="sha256"):
        EttData(series="ETTh1").prepare_data()


def test_co2_needs_no_download_and_has_no_gaps():
    data = Co2Data()
    assert data.series.values.shape == (2284, 1)
    assert np.isfinite(data.series.values).all()
    assert len(data.dataset("test")) == 456 - 52 + 1


def test_etts_fourth_series_is_read_and_split_by_the_same_months(write_series, monkeypatch, tmp_path):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    write_series("ett/ETTm2.csv", rows=69_680, columns=7, frequency="15min")
    data = EttData(lookback=96, horizon=720, series="ETTm2")
    counts = [len(data.dataset(split)) for split in ("train", "val", "test")]
    assert counts == [34_560 - 96 - 720 + 1, 11_520 - 720 + 1, 11_520 - 720 + 1]
    assert data.stamps(4, 2) == ["2020-01-01 01:00:00", "2020-01-01 01:15:00"]


@pytest.mark.data
@pytest.mark.parametrize("series", ["ETTh1", "ETTh2", "ETTm1"])
def test_the_published_sizes(series):
    data = EttData(lookback=96, horizon=96, series=series)
    factor = 4 if series == "ETTm1" else 1
    assert len(data.dataset("test")) == 2880 * factor - 95
