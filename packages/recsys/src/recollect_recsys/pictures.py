"""Pictures of what was measured and of what is remembered."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from torch import Tensor

GROUPS = 10
"""Groups of items of equal size, from the most to the least popular."""

LYING = 12
"""Labels that are legible side by side; more are turned upright."""


class BarPicture(NamedTuple):
    """Bars in groups, side by side where there are several series.

    Attributes:
        title: What it shows.
        labels: One for each group.
        series: Heights of the bars, ``(groups,)``, by name.
        across: What the groups are.
        upward: What the heights are.
    """

    title: str
    labels: Sequence[str]
    series: dict[str, Tensor]
    across: str
    upward: str

    def draw(self) -> Figure:
        """See ``recollect.training.Picture``."""
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        width = 0.8 / len(self.series)
        for turn, (name, heights) in enumerate(self.series.items()):
            left = [group + (turn - (len(self.series) - 1) / 2) * width for group in range(len(self.labels))]
            axes.bar(left, heights.tolist(), width, label=name)
        upright = 90 if len(self.labels) > LYING else 0
        axes.set_xticks(range(len(self.labels)), list(self.labels), fontsize=8, rotation=upright)
        axes.set_title(self.title, fontsize=10, loc="left")
        axes.set_xlabel(self.across)
        axes.set_ylabel(self.upward)
        if len(self.series) > 1:
            axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(self.series))
        return figure


def by_history_length(counted: Tensor, name: str = "NDCG@10") -> BarPicture:
    """Means by class of history length, of which there are any.

    Args:
        counted: ``(2, classes)``: users, and the sum of their values; classes as ``length_class`` has them.
        name: What was measured.
    """
    users, sums = counted.cpu()
    there = users.nonzero().squeeze(1).tolist()
    labels = ["0" if c == 0 else "1" if c == 1 else f"{2 ** (c - 1)}–{2**c - 1}" for c in there]
    labels = [f"{label}\n({int(users[c])} users)" for label, c in zip(labels, there, strict=True)]
    return BarPicture(
        f"{name} by length of history",
        labels,
        {name: (sums / users.clamp_min(1))[there]},
        "items before",
        name,
    )


def by_popularity(recommended: Tensor, consumed: Tensor) -> BarPicture:
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
    return BarPicture(
        "popularity of what is recommended", labels, series, "items, most popular first", "share"
    )


def memory_use(filled: Tensor, room: int) -> BarPicture:
    """How many users' memories hold how many items: ``filled`` ``(B,)``, out of ``room``."""
    edges = sorted({round(room * part / 8) for part in range(9)})
    counts, labels = [], []
    for low, high in zip([-1, *edges[:-1]], edges, strict=True):
        counts.append(float(((filled > low) & (filled <= high)).sum()))
        labels.append(str(high) if high - low == 1 else f"{low + 1}–{high}")
    users = filled.new_tensor(counts)
    return BarPicture(f"items remembered of each user, of {room}", labels, {"users": users}, "items", "users")


def items_read(weights: Tensor, names: Sequence[str]) -> BarPicture:
    """With what weight each past item was read, ``weights`` ``(n,)``, from the oldest to the latest."""
    return BarPicture(
        "which past items were read", names, {"weight": weights}, "items, the latest last", "weight"
    )


def _shares(parts: list[float], like: Tensor) -> Tensor:
    total = sum(parts) or 1.0
    return like.new_tensor([part / total for part in parts], dtype=like.double().dtype)
