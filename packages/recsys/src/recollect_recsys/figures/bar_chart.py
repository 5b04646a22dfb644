"""Bar charts of metrics and of memory use."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from torch import Tensor

from recollect.training.figures import COLOURS, plain, title

GROUPS = 10
"""Groups of items of equal size, from the most to the least popular."""


class BarFigure(NamedTuple):
    """A grouped bar chart.

    Attributes:
        name: Kind of figure.
        title: Title of the figure.
        labels: Label of each group.
        series: Heights of the bars, ``(groups,)``, by name.
        across: Axis label of the groups.
        upward: Axis label of the heights.
        lying: Whether to draw horizontal bars, for long labels.
    """

    name: str
    title: str
    labels: Sequence[str]
    series: dict[str, Tensor]
    across: str
    upward: str
    lying: bool = False

    def draw(self) -> Figure:
        """See ``recollect.training.NamedFigure``."""
        height = 1.4 + 0.22 * len(self.labels) if self.lying else 3.8
        figure = Figure(figsize=(7.6, height), layout="constrained")
        title(figure, self.title)
        axes = figure.add_subplot()
        width = 0.8 / len(self.series)
        for turn, (name, heights) in enumerate(self.series.items()):
            places = [
                group + (turn - (len(self.series) - 1) / 2) * width for group in range(len(self.labels))
            ]
            draw = axes.barh if self.lying else axes.bar
            draw(places, heights.tolist(), width, label=name, color=COLOURS[turn])
        labels = [plain(label) for label in self.labels]
        if self.lying:
            axes.set_yticks(range(len(labels)), labels, fontsize=8)
            axes.margins(y=0.02)
            axes.invert_yaxis()
        else:
            axes.set_xticks(range(len(labels)), labels, fontsize=8)
        across, upward = (
            (axes.set_ylabel, axes.set_xlabel) if self.lying else (axes.set_xlabel, axes.set_ylabel)
        )
        across(self.across)
        upward(self.upward)
        if len(self.series) > 1:
            axes.legend(frameon=False)
        return figure


def by_history_length(counted: Tensor, name: str = "NDCG@10") -> BarFigure:
    """Means by class of history length, of which there are any.

    Args:
        counted: ``(2, classes)``: users, and the sum of their values; classes as ``length_bucket`` has them.
        name: What was measured.
    """
    users, sums = counted.cpu()
    there = users.nonzero().squeeze(1).tolist()
    labels = ["0" if c == 0 else "1" if c == 1 else f"{2 ** (c - 1)}–{2**c - 1}" for c in there]
    labels = [f"{label}\n({int(users[c])} users)" for label, c in zip(labels, there, strict=True)]
    return BarFigure(
        "history-length",
        f"{name} by number of items that a user had before",
        labels,
        {name: (sums / users.clamp_min(1))[there]},
        "items before",
        name,
    )


def by_popularity(recommended: Tensor, consumed: Tensor) -> BarFigure:
    """What share of the recommendations and of the training items falls on the more and less popular items.

    Args:
        recommended: ``(I,)`` how often each item stood in a list.
        consumed: ``(I,)`` how often it occurs in the training split.
    """
    order = consumed.argsort(descending=True, stable=True).cpu()
    series = {}
    for name, counts in (("consumed", consumed), ("recommended", recommended)):
        parts = counts.cpu()[order].double().tensor_split(GROUPS)
        series[name] = _shares([float(part.sum()) for part in parts], counts)
    labels = [f"{100 * (g + 1) // GROUPS} %" for g in range(GROUPS)]
    return BarFigure(
        "popularity",
        "popularity of what was consumed in training and of what is recommended",
        labels,
        series,
        "items, tenth by tenth, the most popular first",
        "share",
    )


def memory_use(filled: Tensor, room: int) -> BarFigure:
    """How many users' memories hold how many items: ``filled`` ``(B,)``, out of ``room``."""
    edges = sorted({round(room * part / 8) for part in range(9)})
    counts, labels = [], []
    for low, high in zip([-1, *edges[:-1]], edges, strict=True):
        counts.append(float(((filled > low) & (filled <= high)).sum()))
        labels.append(str(high) if high - low == 1 else f"{low + 1}–{high}")
    users = filled.new_tensor(counts)
    return BarFigure(
        "memory-use",
        f"items remembered of each of {len(filled)} users, with room for {room}",
        labels,
        {"users": users},
        "items remembered",
        "users",
    )


def items_read(user: str, weights: Tensor, names: Sequence[str]) -> BarFigure:
    """With what weight each past item of a user was read, ``weights`` ``(n,)``, from the oldest on."""
    return BarFigure(
        "read",
        f"items of user {user} that were read for the next recommendation",
        names,
        {"weight": weights},
        "items, the latest at the bottom",
        "weight",
        lying=True,
    )


def _shares(parts: list[float], like: Tensor) -> Tensor:
    total = sum(parts) or 1.0
    return like.new_tensor([part / total for part in parts], dtype=like.double().dtype)
