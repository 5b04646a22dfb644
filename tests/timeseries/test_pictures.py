"""Pictures of forecasts."""

import torch

from recollect_timeseries.pictures import ForecastPicture, Found


def test_what_was_recalled_is_drawn_below_with_its_weight():
    past, future = torch.arange(5.0), torch.arange(5.0, 8.0)
    found = [Found("2020-01-01", 0.7, torch.arange(8.0)), Found("2020-02-01", 0.3, -torch.arange(8.0))]
    picture = ForecastPicture(
        "x from …", past, future, future, future - 1, future + 1, "80 % interval", found
    )
    above, below = picture.draw().axes
    assert [text.get_text() for text in above.get_legend().get_texts()] == [
        "truth",
        "forecast",
        "80 % interval",
    ]
    assert [text.get_text() for text in below.get_legend().get_texts()] == [
        "2020-01-01 (70%)",
        "2020-02-01 (30%)",
    ]
    assert list(below.lines[0].get_xdata()) == list(range(-5, 3))
    assert len(picture._replace(found=()).draw().axes) == 1
