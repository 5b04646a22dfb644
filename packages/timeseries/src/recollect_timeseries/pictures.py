"""Pictures of forecasts."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from torch import Tensor


class Found(NamedTuple):
    """A past window that was recalled: its values over lookback and horizon, and what it weighed.

    Attributes:
        label: When its future began.
        weight: In [0, 1].
        values: ``(L + H,)``, moved to the level of the window that is forecast.
    """

    label: str
    weight: float
    values: Tensor


class ForecastPicture(NamedTuple):
    """One variable's forecast beside what came, and below it the past windows that were recalled.

    Attributes:
        title: Variable and time.
        past: ``(L,)``.
        truth: ``(H,)``.
        forecast: ``(H,)``.
        lower: ``(H,)`` lower bound of the interval, where there is one.
        upper: ``(H,)`` upper bound.
        interval: What the bounds are called.
        found: Past windows that were recalled, the nearest first.
    """

    title: str
    past: Tensor
    truth: Tensor
    forecast: Tensor
    lower: Tensor | None = None
    upper: Tensor | None = None
    interval: str = ""
    found: Sequence[Found] = ()

    def draw(self) -> Figure:
        """The figure; step 0 is the first that is forecast.

        Example:
            >>> import torch
            >>> picture = ForecastPicture("x", torch.zeros(9), torch.zeros(3), torch.ones(3))
            >>> len(picture.draw().axes)
            1
        """
        rows = 2 if self.found else 1
        figure = Figure(figsize=(9, 3.2 * rows), layout="constrained")
        axes = figure.add_subplot(rows, 1, 1)
        steps = range(len(self.forecast))
        axes.plot(range(-len(self.past), 0), self.past.cpu(), color="tab:gray", linewidth=1)
        axes.plot(steps, self.truth.cpu(), color="black", linewidth=1, label="truth")
        axes.plot(steps, self.forecast.cpu(), color="tab:blue", linewidth=1.5, label="forecast")
        if self.lower is not None and self.upper is not None:
            bounds = (self.lower.cpu().numpy(), self.upper.cpu().numpy())
            axes.fill_between(steps, *bounds, color="tab:blue", alpha=0.25, linewidth=0, label=self.interval)
        axes.axvline(0, color="tab:gray", linewidth=0.5)
        axes.set_title(self.title.replace("$", r"\$"), fontsize=10, loc="left")
        axes.legend(fontsize=8, loc="upper left")
        if self.found:
            self._draw_found(figure)
        return figure

    def _draw_found(self, figure: Figure) -> None:
        axes = figure.add_subplot(2, 1, 2)
        steps = range(-len(self.past), len(self.truth))
        for found in self.found:
            label = f"{found.label} ({found.weight:.0%})"
            axes.plot(steps, found.values.cpu(), linewidth=1, alpha=0.8, label=label)
        axes.axvline(0, color="tab:gray", linewidth=0.5)
        axes.set_title("recalled from training, at the level of the window above", fontsize=10, loc="left")
        axes.legend(fontsize=7, loc="upper left")
