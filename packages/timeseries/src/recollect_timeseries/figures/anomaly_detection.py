"""Figures of anomaly scores over time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from recollect.training.figures import COLOURS, plain, title
from recollect_timeseries.figures.forecasting import format_dates
from recollect_timeseries.metrics.volume_under_surface import anomalous_ranges


class AnomalyFigure(NamedTuple):
    """One series, with its anomaly scores below; labelled anomalies are shaded.

    Attributes:
        title: Title of the figure.
        columns: Names of the C columns.
        times: ISO 8601 timestamp or row number of each of the T points.
        values: ``(T, C)`` scaled values.
        scores: ``(T,)``.
        threshold: Points with a higher score are predicted anomalous.
        label: ``(T,)`` bool.
    """

    title: str
    columns: Sequence[str]
    times: Sequence[str]
    values: Tensor
    scores: Tensor
    threshold: float
    label: Tensor

    @property
    def name(self) -> str:
        """See ``recollect.training.NamedFigure``."""
        return "anomalies"

    def draw(self) -> Figure:
        """Draw the figure, with the first columns only if there are many.

        Example:
            >>> import torch
            >>> times = [f"2020-01-0{day}" for day in range(1, 10)]
            >>> label = torch.arange(9) == 4
            >>> picture = AnomalyFigure("x", ["a"], times, torch.zeros(9, 1), torch.rand(9), 0.5, label)
            >>> [axes.get_ylabel() for axes in picture.draw().axes]
            ['a (standard deviations)', 'score']
        """
        figure = Figure(figsize=(9, 5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        shown = [plain(column) for column in self.columns[: len(COLOURS)]]
        some = f", {len(shown)} of {len(self.columns)} columns" if len(shown) < len(self.columns) else ""
        title(figure, self.title + some)
        x = time_axis(self.times)
        for number, column in enumerate(shown):
            colour = COLOURS[number]
            above.plot(x, self.values[:, number].cpu(), color=colour, linewidth=0.7, label=column)
        below.plot(x, self.scores.cpu(), color="black", linewidth=0.7, label="score")
        if np.isfinite(self.threshold):
            below.axhline(self.threshold, color=COLOURS[0], linewidth=1, linestyle="--", label="threshold")
        for number, (begin, end) in enumerate(label_spans(x, self.label)):
            for axes in (above, below):
                # Matplotlib leaves labels that begin with an underscore out of the legend.
                name = "_" if number else "labelled anomaly"
                axes.axvspan(begin, end, color=COLOURS[4], alpha=0.4, linewidth=0, label=name)
        above.set_ylabel(f"{shown[0] if len(shown) == 1 else 'values'} (standard deviations)")
        below.set_ylabel("score")
        if np.issubdtype(x.dtype, np.datetime64):
            format_dates(below)
        else:
            below.set_xlabel("row")
        for axes in (above, below):
            axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 1), ncols=7, frameon=False)
        return figure


def time_axis(times: Sequence[str]) -> NDArray[Any]:
    """Convert timestamps to times and row numbers to numbers.

    Example:
        >>> time_axis(["2020-01-01 00:30:00"]).astype(str).tolist(), time_axis(["7"]).tolist()
        (['2020-01-01T00:30:00.000'], [7.0])
    """
    if all(time.isdigit() for time in times):
        return np.array(times, dtype=np.float64)
    return np.array(times, dtype="datetime64[ms]")


def label_spans(x: NDArray[Any], label: Tensor) -> list[tuple[Any, Any]]:
    """Return start and end of each labelled range, halfway to the neighbouring points.

    Example:
        >>> import torch
        >>> [(float(a), float(b)) for a, b in label_spans(np.arange(5.0), torch.arange(5) == 2)]
        [(1.5, 2.5)]
    """
    middle = np.concatenate([x[:1], x[:-1] + np.diff(x) / 2, x[-1:]])
    return [(middle[begin], middle[end + 1]) for begin, end in anomalous_ranges(label.cpu().numpy())]
