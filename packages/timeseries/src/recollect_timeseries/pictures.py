"""Pictures of forecasts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from torch import Tensor

from recollect.training.pictures import COLOURS, plain, title


class RetrievedWindow(NamedTuple):
    """A past window that was recalled: its values over lookback and horizon, and what it weighed.

    Attributes:
        label: When its future began.
        weight: In [0, 1].
        values: ``(L + H,)``, moved to the level of the window that is forecast.
    """

    label: str
    weight: float
    values: Tensor


class ForecastFigure(NamedTuple):
    """One variable's forecast beside what came, and below it the past windows that were recalled.

    Attributes:
        title: Variable and time.
        variable: Its name.
        stamps: ``L + H`` time stamps in ISO 8601.
        past: ``(L,)``.
        truth: ``(H,)``.
        forecast: ``(H,)``.
        lower: ``(H,)`` lower bound of the interval, where there is one.
        upper: ``(H,)`` upper bound.
        interval: What the bounds are called.
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
        """See ``recollect.training.Picture``."""
        return "forecast"

    def draw(self) -> Figure:
        """The figure; below, step 0 is the first that is forecast.

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
    """Show times of the x axis as short dates."""
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlabel("time")
