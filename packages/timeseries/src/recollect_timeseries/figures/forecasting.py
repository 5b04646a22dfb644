"""Figures of forecasts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from torch import Tensor

from recollect.training.figures import COLOURS, plain, title
from recollect_timeseries.data.forecasting import ForecastingData
from recollect_timeseries.models.window_memory import RetrievedWindows, WindowMemory
from recollect_timeseries.types import WindowBatch

SHOWN = 4
"""Number of retrieved windows in a figure."""


class RetrievedWindow(NamedTuple):
    """A retrieved past window: its values over lookback and horizon, and its weight.

    Attributes:
        label: Time of its first future step.
        weight: In [0, 1].
        values: ``(L + H,)``, shifted to the level of the forecast window.
    """

    label: str
    weight: float
    values: Tensor


class ForecastFigure(NamedTuple):
    """Forecast and truth of one variable, with the retrieved past windows below.

    Attributes:
        title: Variable and time.
        variable: Its name.
        stamps: ``L + H`` time stamps in ISO 8601.
        past: ``(L,)``.
        truth: ``(H,)``.
        forecast: ``(H,)``.
        lower: ``(H,)`` lower bound of the interval, if any.
        upper: ``(H,)`` upper bound.
        interval: Legend entry of the interval.
        retrieved: Retrieved past windows, the most similar first.
    """

    title: str
    variable: str
    stamps: Sequence[str]
    past: Tensor
    truth: Tensor
    forecast: Tensor
    lower: Tensor | None = None
    upper: Tensor | None = None
    interval: str = ""
    retrieved: Sequence[RetrievedWindow] = ()

    @property
    def name(self) -> str:
        """See ``recollect.training.NamedFigure``."""
        return "forecast"

    def draw(self) -> Figure:
        """Draw the figure; in the lower axes, step 0 is the first forecast step.

        Example:
            >>> import torch
            >>> days = [f"2020-01-{day:02d}" for day in range(1, 13)]
            >>> picture = ForecastFigure("x", "x", days, torch.zeros(9), torch.zeros(3), torch.ones(3))
            >>> len(picture.draw().axes)
            1
        """
        rows = 2 if self.retrieved else 1
        figure = Figure(figsize=(9, 0.4 + 3 * rows), layout="constrained")
        title(figure, self.title)
        axes = figure.add_subplot(rows, 1, 1)
        times = np.array(self.stamps, dtype="datetime64[s]")
        before, after = times[: len(self.past)], times[len(self.past) :]
        axes.plot(before, self.past.cpu(), color="0.5", linewidth=1, label="past")
        axes.plot(after, self.truth.cpu(), color="black", linewidth=1, label="truth")
        axes.plot(after, self.forecast.cpu(), color=COLOURS[0], linewidth=1.5, label="forecast")
        if self.lower is not None and self.upper is not None:
            bounds = (self.lower.cpu().numpy(), self.upper.cpu().numpy())
            axes.fill_between(after, *bounds, color=COLOURS[0], alpha=0.25, linewidth=0, label=self.interval)
        axes.axvline(after[0], color="0.5", linewidth=0.5)
        format_dates(axes)
        axes.set_ylabel(plain(self.variable))
        axes.legend(fontsize=8, loc="upper left")
        if self.retrieved:
            self._draw_retrieved(figure)
        return figure

    def _draw_retrieved(self, figure: Figure) -> None:
        axes = figure.add_subplot(2, 1, 2)
        steps = range(-len(self.past), len(self.truth))
        for number, retrieved in enumerate(self.retrieved):
            label = f"{retrieved.label} ({retrieved.weight:.0%})"
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(steps, retrieved.values.cpu(), color=colour, linewidth=1, alpha=0.8, label=label)
        axes.axvline(0, color="0.5", linewidth=0.5)
        axes.set_title("recalled from training, at the level of the window above", fontsize=10, loc="left")
        axes.set_xlabel("steps from the first that is forecast")
        axes.set_ylabel(plain(self.variable))
        axes.legend(fontsize=7, loc="upper left", title="first step forecast (weight)", title_fontsize=7)


def format_dates(axes: Axes) -> None:
    """Format the times on the x axis as short dates."""
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlabel("time")


def forecast_figures(
    data: ForecastingData,
    memory: WindowMemory | None,
    batch: WindowBatch,
    forecast: Tensor,
    bounds: tuple[Tensor, Tensor] | None,
    retrieved: RetrievedWindows | None,
) -> list[ForecastFigure]:
    """One figure per window: its last variable (by convention the target), in the units of the data.

    Args:
        data: The data module.
        memory: The memory of training windows, if there is one.
        batch: B windows.
        forecast: ``(B, H, C)`` scaled.
        bounds: Lower and upper bound of the interval, likewise.
        retrieved: The training windows retrieved for the batch.
    """
    past, truth, point = (data.unscale(part)[..., -1] for part in (batch.past, batch.future, forecast))
    lower, upper = (None, None) if bounds is None else (data.unscale(part)[..., -1] for part in bounds)
    figures = []
    for b, clock in enumerate(batch.clock.tolist()):
        windows = (
            []
            if memory is None or retrieved is None
            else _retrieved_windows(data, memory, retrieved, past[b], b)
        )
        variable = data.columns[-1]
        figures.append(
            ForecastFigure(
                f"{variable}: forecast of {data.horizon} steps from {_date(data, clock)} on",
                variable,
                data.stamps(clock - data.lookback, data.lookback + data.horizon),
                past[b],
                truth[b],
                point[b],
                None if lower is None else lower[b],
                None if upper is None else upper[b],
                "80 % interval" if bounds else "",
                windows,
            )
        )
    return figures


def _retrieved_windows(
    data: ForecastingData, memory: WindowMemory, retrieved: RetrievedWindows, past: Tensor, item: int
) -> list[RetrievedWindow]:
    """Return the windows with the largest weights in the search of the first period."""
    weights, origins = retrieved.weights[item, 0].cpu(), retrieved.origins[item, 0].cpu()
    best = weights.topk(min(SHOWN, len(weights)))
    values = data.unscale(memory.values)[..., -1]
    steps = torch.arange(-data.lookback, data.horizon, device="cpu")
    windows = []
    for weight, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        window = values[int(origins[place]) + steps]
        moved = window - window[: data.lookback].mean() + past.mean()
        windows.append(RetrievedWindow(_date(data, int(origins[place])), weight, moved))
    return windows


def _date(data: ForecastingData, clock: int) -> str:
    """Return the timestamp of a step, without the time of day at midnight."""
    return data.stamps(clock, 1)[0].removesuffix(" 00:00:00")
