"""Stamps and ticks: fixed steps, months, and stamps that are off the grid."""

import numpy as np
import pandas as pd
import pytest

from recollect_timeseries.data.calendar import Calendar


@pytest.mark.parametrize("frequency", ["15min", "h", "D", "W-SAT", "MS", "ME", "QS", "YS"])
def test_ticks_and_stamps_are_inverse_and_go_on_beyond_the_end(frequency):
    stamps = pd.date_range("2019-01-31", periods=60, freq=frequency)
    calendar = Calendar.infer(stamps[:30])
    assert calendar.ticks(stamps).tolist() == list(range(60))
    assert list(calendar.stamps(np.arange(60))) == list(stamps)


def test_the_most_frequent_step_is_the_step():
    stamps = pd.to_datetime(["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00", "2020-01-01 05:00"])
    assert Calendar.infer(stamps).ticks(stamps).tolist() == [0, 1, 2, 5]


def test_a_stamp_off_the_grid_is_no_whole_tick():
    hours = Calendar.infer(pd.date_range("2020-01-01", periods=3, freq="h"))
    assert hours.ticks(pd.to_datetime(["2020-01-01 01:30"])).tolist() == [1.5]
    months = Calendar.infer(pd.date_range("2020-01-01", periods=3, freq="MS"))
    assert months.ticks(pd.to_datetime(["2020-02-02"]))[0] % 1 != 0


def test_one_stamp_has_no_step():
    with pytest.raises(ValueError, match="two stamps"):
        Calendar.infer(pd.to_datetime(["2020-01-01"]))


def test_steps_are_named_as_a_person_would():
    assert Calendar.infer(pd.date_range("2020", periods=3, freq="YS")).describe() == "12 months"
    assert "01:00:00" in Calendar.infer(pd.date_range("2020", periods=3, freq="h")).describe()
