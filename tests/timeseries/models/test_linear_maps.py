"""Linear maps by variable: what they are given, and what they give."""

import math

import pytest
import torch

from recollect_timeseries.models.backbone import ForecasterSizes
from recollect_timeseries.models.forecasting import Forecaster
from recollect_timeseries.models.linear_maps import LinearMaps

L, H, C = 10, 3, 2
SIZES = ForecasterSizes(L, H, C)


def test_it_is_given_the_past_the_course_of_the_day_and_a_constant():
    maps = LinearMaps(SIZES, period=8, harmonics=2, constant=True)
    past, clock = torch.randn(4, C, L), torch.tensor([0, 1, 2, 8])
    features = maps.features(past, clock)
    assert features.shape == (C, 4, L + 5)
    torch.testing.assert_close(features[..., :L], past.transpose(0, 1))
    torch.testing.assert_close(features[0, 1, L : L + 2], torch.tensor([math.cos(math.pi / 4), 0.0]))
    torch.testing.assert_close(features[1, 2, L + 2 : L + 4], torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(features[0, 0, L:], features[0, 3, L:])  # a period later
    assert (features[..., -1] == 1).all()


def test_the_course_has_mean_zero_so_that_it_is_no_drift():
    maps = LinearMaps(SIZES, period=7, harmonics=3)
    course = maps.features(torch.zeros(7, C, L), torch.arange(7))[0, :, L:]
    torch.testing.assert_close(course.mean(0), torch.zeros(6), atol=1e-6, rtol=0)


def test_what_is_long_past_is_averaged_and_a_rest_left_out():
    maps = LinearMaps(SIZES, fine=3, coarse=2)
    assert maps.spans.tolist() == [2, 2, 2, 1, 1, 1]
    past = torch.arange(10.0).expand(1, C, L)
    assert maps.features(past, torch.zeros(1, dtype=torch.int64))[0, 0].tolist() == [1.5, 3.5, 5.5, 7, 8, 9]


def test_it_begins_as_the_mean_of_the_past_and_each_variable_has_its_own_map():
    model = Forecaster(LinearMaps(SIZES._replace(normalize="none"), fine=4, coarse=3, harmonics=1))
    past, clock = torch.randn(5, L, C), torch.arange(5)
    expected = past.mean(1, keepdim=True).expand(-1, H, -1)
    torch.testing.assert_close(model(past, clock).squeeze(-1), expected)
    with torch.no_grad():
        model.backbone.maps.weight[1] = 0
    forecast = model(past, clock).squeeze(-1)
    torch.testing.assert_close(forecast[..., 0], expected[..., 0])
    assert not forecast[..., 1].any()


@pytest.mark.parametrize(
    ("options", "named"),
    [({"period": 0}, "period"), ({"period": 8, "harmonics": 5}, "harmonics"), ({"coarse": 0}, "coarse")],
)
def test_arguments_out_of_range_are_named(options, named):
    with pytest.raises(ValueError, match=f"{named} must be"):
        LinearMaps(SIZES, **options)
