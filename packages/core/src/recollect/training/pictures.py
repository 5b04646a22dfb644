"""Pictures that a run leaves, drawn with matplotlib's object interface (no global state, no display)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

LABEL_LENGTH = 48
"""Characters of a label that are shown."""


class Picture(Protocol):
    """Anything that can be drawn: what ``Task.pictures`` gives."""

    def draw(self) -> Figure:
        """The figure."""
        ...


class ReadPicture(NamedTuple):
    """One read, or several reads of the same entries, to be drawn as a heat map.

    Attributes:
        title: What is asked, and perhaps what was answered.
        weights: ``(rows, columns)`` in [0, 1]; each row is one read (a hop, a decoder's step).
        rows: A label for each row.
        columns: A label for each column: the entries that were read.
        highlighted: The columns that ought to have been read, where that is known.
    """

    title: str
    weights: Tensor
    rows: Sequence[str]
    columns: Sequence[str]
    highlighted: Sequence[int] = ()

    def draw(self) -> Figure:
        """See ``draw``."""
        return draw(self)


def draw(picture: ReadPicture) -> Figure:
    """A heat map with the entries down the side and the reads across; what ought to be read is marked.

    Raises:
        ValueError: If the labels are not as many as the weights.

    Example:
        >>> import torch
        >>> picture = ReadPicture("where is the milk?", torch.eye(2), ["hop 1", "hop 2"], ["a", "b"], [1])
        >>> len(draw(picture).axes[0].get_yticklabels())
        2
    """
    weights = picture.weights.detach().float().cpu().numpy()
    if weights.shape != (len(picture.rows), len(picture.columns)):
        raise ValueError(
            f"{picture.title!r}: weights are {weights.shape}, but there are {len(picture.rows)} row "
            f"and {len(picture.columns)} column labels"
        )
    reads, entries = weights.shape
    figure = Figure(figsize=(4.5 + 0.6 * min(reads, 20), 1.3 + 0.27 * min(entries, 60)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(weights.T, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axes.set_title(_short(picture.title, 2 * LABEL_LENGTH), fontsize=10, loc="left")
    axes.set_xticks(range(reads), [_short(label) for label in picture.rows], rotation=90 if reads > 8 else 0)
    axes.set_yticks(range(entries), [_short(label) for label in picture.columns])
    axes.tick_params(labelsize=8, length=0)
    for place in picture.highlighted:
        label = axes.get_yticklabels()[place]
        label.set_color("tab:orange")
        label.set_fontweight("bold")
    if weights.size <= 200:
        for read, entry in np.argwhere(weights >= 0.05):
            value = weights[read, entry]
            colour = "white" if value > 0.5 else "black"
            axes.text(read, entry, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    return figure


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """The figure as an image ``(height, width, 3)``."""
    canvas: Any = FigureCanvasAgg(figure)  # untyped in matplotlib
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, making the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas: Any = FigureCanvasAgg(figure)  # untyped in matplotlib
    canvas.print_png(str(path))


def _short(text: str, length: int = LABEL_LENGTH) -> str:
    # A dollar sign would open a formula.
    text = text if len(text) <= length else text[: length - 1] + "…"
    return text.replace("$", r"\$")
