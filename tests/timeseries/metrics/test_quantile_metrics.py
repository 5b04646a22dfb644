"""Scores of quantile forecasts."""

import pytest
import torch
from torch.distributions import Normal

from recollect_timeseries.metrics.forecasting import Coverage, Crps, pinball_loss


def test_the_pinball_loss_is_least_at_the_quantile():
    sample = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    guesses = torch.linspace(-2, 2, 401)
    losses = pinball_loss(guesses.expand(len(sample), -1), sample, torch.full((401,), 0.8)).mean(0)
    assert guesses[losses.argmin()].item() == pytest.approx(
        Normal(0, 1).icdf(torch.tensor(0.8)).item(), abs=0.05
    )


def test_crps_of_a_normal_forecast_nears_the_closed_form():
    levels = (torch.arange(200) + 0.5) / 200
    quantiles = Normal(0, 1).icdf(levels)
    score = Crps(levels.tolist())
    truth = torch.tensor([0.7])
    score.update(quantiles.unsqueeze(0), truth)
    normal = Normal(0, 1)
    density, below = normal.log_prob(truth).exp(), normal.cdf(truth)
    closed = truth * (2 * below - 1) + 2 * density - torch.pi**-0.5
    assert score.compute().item() == pytest.approx(closed.item(), rel=0.01)


def test_scores_of_batches_are_those_of_the_whole():
    forecast, truth = torch.randn(10, 3, 9).sort(-1).values, torch.randn(10, 3)
    levels = [i / 10 for i in range(1, 10)]
    crps, coverage = Crps(levels), Coverage()
    whole = crps(forecast, truth), coverage(forecast[..., 0], forecast[..., -1], truth)
    crps.reset()
    coverage.reset()
    for part in (slice(0, 7), slice(7, 10)):
        crps.update(forecast[part], truth[part])
        coverage.update(forecast[part][..., 0], forecast[part][..., -1], truth[part])
    torch.testing.assert_close((crps.compute(), coverage.compute()), whole)
