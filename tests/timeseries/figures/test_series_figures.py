"""Figures of forecasts and of anomalies: dates below, names beside, what is what in the legend."""

import numpy as np
import torch

from recollect_timeseries.figures.anomaly_detection import AnomalyFigure
from recollect_timeseries.figures.forecasting import ForecastFigure, RetrievedWindow


def test_what_was_recalled_is_drawn_below_with_its_weight():
    past, future = torch.arange(5.0), torch.arange(5.0, 8.0)
    retrieved = [
        RetrievedWindow("2020-01-01", 0.7, torch.arange(8.0)),
        RetrievedWindow("2020-02-01", 0.3, -torch.arange(8.0)),
    ]
    days = [f"2020-01-{day:02d} 00:00:00" for day in range(1, 9)]
    picture = ForecastFigure(
        "x from …", "x", days, past, future, future, future - 1, future + 1, "80 % interval", retrieved
    )
    figure = picture.draw()
    above, below = figure.axes
    assert figure.get_suptitle() == "x from …"
    assert (above.get_xlabel(), above.get_ylabel()) == ("time", "x")
    assert np.array_equal(above.lines[0].get_xdata(), np.array(days[:5], dtype="datetime64[s]"))
    assert below.get_xlabel() == "steps from the first that is forecast"
    assert [text.get_text() for text in above.get_legend().get_texts()] == [
        "past",
        "truth",
        "forecast",
        "80 % interval",
    ]
    assert [text.get_text() for text in below.get_legend().get_texts()] == [
        "2020-01-01 (70%)",
        "2020-02-01 (30%)",
    ]
    assert list(below.lines[0].get_xdata()) == list(range(-5, 3))
    assert len(picture._replace(retrieved=()).draw().axes) == 1


def test_anomalies_stand_at_their_times_and_labels_are_shaded():
    values, label = torch.randn(6, 8), torch.tensor([0, 0, 1, 1, 0, 0]) > 0
    hours = [f"2020-01-01 0{hour}:00:00" for hour in range(6)]
    columns = [f"column {number}" for number in range(8)]
    picture = AnomalyFigure("P-1", columns, hours, values, torch.rand(6), 0.5, label)
    figure = picture.draw()
    above, below = figure.axes
    assert figure.get_suptitle() == "P-1, 6 of 8 columns"
    assert (above.get_ylabel(), below.get_ylabel()) == ("values (standard deviations)", "score")
    assert below.get_xlabel() == "time"
    assert np.array_equal(below.lines[0].get_xdata(), np.array(hours, dtype="datetime64[ms]"))
    (shade,) = below.patches
    begin, end = shade.get_extents().transformed(below.transData.inverted()).intervalx * 24
    assert round(end - begin, 6) == 2  # from half past one to half past three
    assert [text.get_text() for text in below.get_legend().get_texts()] == [
        "score",
        "threshold",
        "labelled anomaly",
    ]
    one = AnomalyFigure("a", ["x"], list("012345"), values[:, :1], torch.rand(6), torch.inf, label).draw()
    assert [axes.get_ylabel() for axes in one.axes] == ["x (standard deviations)", "score"]
    assert one.axes[1].get_xlabel() == "row"
