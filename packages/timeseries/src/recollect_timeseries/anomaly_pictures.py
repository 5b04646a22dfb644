"""Pictures of scores over time."""

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from recollect_timeseries.volume_under_surface import ranges_of

COLUMNS = 6
"""Columns of a series that are drawn."""


class AnomalyPicture(NamedTuple):
    """One series, and below it the score of each point; what was wrong in truth is shaded.

    Attributes:
        title: Whose.
        values: ``(T, C)``.
        scores: ``(T,)``.
        threshold: Above it a point is called anomalous.
        label: ``(T,)`` bool.
    """

    title: str
    values: Tensor
    scores: Tensor
    threshold: float
    label: Tensor

    def draw(self) -> Figure:
        """The figure.

        Example:
            >>> picture = AnomalyPicture("x", torch.zeros(9, 1), torch.rand(9), 0.5, torch.arange(9) == 4)
            >>> len(picture.draw().axes)
            2
        """
        figure = Figure(figsize=(9, 4), layout="constrained")
        above = figure.add_subplot(2, 1, 1)
        above.plot(self.values[:, :COLUMNS].cpu(), linewidth=0.7)
        above.set_title(self.title.replace("$", r"\$"), fontsize=10, loc="left")
        below = figure.add_subplot(2, 1, 2, sharex=above)
        below.plot(self.scores.cpu(), color="black", linewidth=0.7)
        if torch.isfinite(torch.tensor(self.threshold)):
            below.axhline(self.threshold, color="tab:red", linewidth=0.7, linestyle="--")
        below.set_ylabel("score")
        for begin, end in ranges_of(self.label.cpu().numpy()):
            for axes in (above, below):
                axes.axvspan(begin - 0.5, end + 0.5, color="tab:orange", alpha=0.3, linewidth=0)
        return figure
