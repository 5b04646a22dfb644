"""Figures of a run, drawn with matplotlib's object interface: no global state, no display."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray
from torch import Tensor

LABEL_LENGTH = 48
"""Characters of a label that are shown."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that everybody can tell apart (Okabe and Ito 2008), to be taken in this order."""


class NamedFigure(Protocol):
    """A figure with a name, as ``Task.figures`` returns."""

    @property
    def name(self) -> str:
        """Kind of the figure, part of its file name: ``"confusion"``, ``"read"``."""
        ...

    def draw(self) -> Figure:
        """The figure."""
        ...


class ReadHeatmap(NamedTuple):
    """One or several reads of the same entries as a heat map.

    Attributes:
        title: The question, and perhaps the answer.
        weights: ``(rows, columns)`` in [0, 1]; each row is one read (a hop, a decoder's step).
        rows: A label for each row.
        columns: A label for each column: the entries that were read.
        highlighted: The columns that ought to have been read, where that is known.
        across: What the rows are; they stand side by side in the picture.
        down: What the columns are; they stand below one another.
        name: What kind of picture it is.
    """

    title: str
    weights: Tensor
    rows: Sequence[str]
    columns: Sequence[str]
    highlighted: Sequence[int] = ()
    across: str = "read (hop, step)"
    down: str = "entries read"
    name: str = "read"

    def draw(self) -> Figure:
        """See ``draw``."""
        return draw(self)


def draw(heatmap: ReadHeatmap) -> Figure:
    """Draw a heat map with a row for each entry and a column for each read; expected entries are highlighted.

    Raises:
        ValueError: If the numbers of labels and weights differ.

    Example:
        >>> import torch
        >>> heatmap = ReadHeatmap("where is the milk?", torch.eye(2), ["hop 1", "hop 2"], ["a", "b"], [1])
        >>> len(draw(heatmap).axes[0].get_yticklabels())
        2
    """
    weights = heatmap.weights.detach().float().cpu().numpy()
    if weights.shape != (len(heatmap.rows), len(heatmap.columns)):
        raise ValueError(
            f"{heatmap.title!r}: weights are {weights.shape}, but there are {len(heatmap.rows)} row "
            f"and {len(heatmap.columns)} column labels"
        )
    reads, entries = weights.shape
    figure = Figure(figsize=(6 + 0.5 * min(reads, 24), 2.2 + 0.27 * min(entries, 60)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(weights.T, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    figure.colorbar(image, ax=axes, label="weight", pad=0.02, aspect=12)
    marked = "\norange: what ought to be read" if heatmap.highlighted else ""
    title(figure, _cut(heatmap.title, 4 * LABEL_LENGTH) + marked)
    axes.set_xlabel(heatmap.across, fontsize=9)
    axes.set_ylabel(heatmap.down, fontsize=9)
    upright = reads > 8 or max(map(len, heatmap.rows), default=0) > 12
    axes.set_xticks(range(reads), [_short(label) for label in heatmap.rows], rotation=90 if upright else 0)
    axes.set_yticks(range(entries), [_short(label) for label in heatmap.columns])
    axes.tick_params(labelsize=8, length=0)
    for place in heatmap.highlighted:
        label = axes.get_yticklabels()[place]
        label.set_color(COLOURS[1])
        label.set_fontweight("bold")
    if weights.size <= 200:
        for read, entry in np.argwhere(weights >= 0.05):
            value = weights[read, entry]
            colour = "white" if value > 0.5 else "black"
            axes.text(read, entry, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    return figure


def numbered(figures: Sequence[NamedFigure]) -> list[str]:
    """Return a label for each figure: its name, numbered if several share it.

    Example:
        >>> import torch
        >>> read = ReadHeatmap("where is the milk?", torch.eye(1), ["hop 1"], ["a"])
        >>> numbered([read, read, read._replace(name="confusion")])
        ['read-1', 'read-2', 'confusion']
    """
    names = [picture.name for picture in figures]
    return [
        f"{name}-{names[: place + 1].count(name)}" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def plain(text: str) -> str:
    r"""Escape dollar signs, which start a formula in matplotlib.

    Example:
        >>> plain("5 $")
        '5 \\$'
    """
    return text.replace("$", r"\$")


def title(figure: Figure, text: str, size: float = 10) -> None:
    """Write a title over a figure, broken into lines that fit its width; line breaks in the text stay."""
    width = int(figure.get_figwidth() * 72 / (0.55 * size))  # a letter is about 0.55 of its size wide
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, width)]
    figure.suptitle(plain("\n".join(lines)), fontsize=size, x=0.01, ha="left")


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """The figure as an image ``(height, width, 3)``."""
    return _rendered(figure)[..., :3].copy()


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; creates the folder if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, _rendered(figure), format="png", dpi=figure.dpi)


def _rendered(figure: Figure) -> NDArray[np.uint8]:
    """The figure's pixels, rendered again only if it has changed: layout and text take most of a second."""
    canvas: Any = figure.canvas  # untyped in matplotlib
    if figure.stale or not isinstance(canvas, FigureCanvasAgg):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def _short(text: str) -> str:
    return plain(_cut(text, LABEL_LENGTH))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
