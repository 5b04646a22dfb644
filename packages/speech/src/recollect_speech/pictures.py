"""Pictures of recordings."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from recollect.training.pictures import COLOURS, plain, title
from recollect_speech.types import TimedWord

WORDS = 10
"""How many words a picture names, the likeliest first."""


class TranscriptPicture(NamedTuple):
    """A recording: spectrogram, what was said and when, and which earlier segments each segment read.

    Attributes:
        title: What was said and what was recognized.
        frames: ``(T, F)`` log-mel features, 100 a second.
        words: What was recognized.
        weights: ``(segments, segments)``, how much each segment read of each one before; none without memory.
        segment: Seconds of a segment.
    """

    title: str
    frames: Tensor
    words: Sequence[TimedWord]
    weights: Tensor | None = None
    segment: float = 0.0

    @property
    def name(self) -> str:
        """See ``recollect.training.Picture``."""
        return "recognition"

    def draw(self) -> Figure:
        """See ``recollect.training.Picture``."""
        rows = 2 if self.weights is not None else 1
        figure = Figure(figsize=(9, 3.2 + 2.6 * (rows - 1)), layout="constrained")
        title(figure, self.title)
        axes = figure.add_subplot(rows, 1, 1)
        seconds = _spectrogram(axes, self.frames)
        for word in self.words:
            axes.axvspan(word.start, word.end, ymin=0.88, color=COLOURS[4], alpha=0.6, linewidth=0)
            label = plain(f"{word.text} {word.confidence:.2f}")
            middle, across = (word.start + word.end) / 2, axes.get_xaxis_transform()
            axes.text(middle, 0.94, label, transform=across, ha="center", va="center", fontsize=7)
        axes.set_xlim(0, seconds)
        if self.weights is not None:
            self._draw_read(figure, rows)
        return figure

    def _draw_read(self, figure: Figure, rows: int) -> None:
        assert self.weights is not None
        axes = figure.add_subplot(rows, 1, rows)
        image = axes.imshow(self.weights.numpy(force=True), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        figure.colorbar(image, ax=axes, label="weight")
        axes.set_title("what each segment read of those before it", fontsize=9, loc="left")
        axes.set_xlabel(f"segment that was remembered ({self.segment:.2f} s each)")
        axes.set_ylabel("segment that reads")
        axes.set_xticks(range(self.weights.shape[1]))
        axes.set_yticks(range(self.weights.shape[0]))
        axes.tick_params(labelsize=7, length=0)


class KeywordPicture(NamedTuple):
    """A recording of one word: spectrogram, and how probable each word is.

    Attributes:
        title: What was said and what was recognized.
        frames: ``(T, F)`` log-mel features, 100 a second.
        names: Of the V words.
        alone: ``(V,)``, probabilities by the network alone.
        adapted: ``(V,)``, those with what is remembered of the speaker when all recordings have been heard,
            this one too; none without memory.
    """

    title: str
    frames: Tensor
    names: Sequence[str]
    alone: Tensor
    adapted: Tensor | None = None

    @property
    def name(self) -> str:
        """See ``recollect.training.Picture``."""
        return "word"

    def draw(self) -> Figure:
        """See ``recollect.training.Picture``."""
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        title(figure, self.title)
        spectrogram, bars = figure.subplots(1, 2)
        spectrogram.set_xlim(0, _spectrogram(spectrogram, self.frames))
        shown = [("network alone", "tab:grey", self.alone)]
        if self.adapted is not None:
            shown.append(("speaker remembered", COLOURS[1], self.adapted))
        highest = torch.stack([values for _, _, values in shown]).amax(0)
        likeliest = highest.argsort(descending=True)[:WORDS]
        height = 0.8 / len(shown)
        for number, (label, colour, values) in enumerate(shown):
            places = [place + number * height for place in range(len(likeliest))]
            bars.barh(places, values[likeliest].tolist(), height, label=label, color=colour)
        middle = 0.4 - height / 2
        names = [plain(self.names[word]) for word in likeliest.tolist()]
        bars.set_yticks([place + middle for place in range(len(names))], names)
        bars.invert_yaxis()
        bars.set_xlim(0, 1)
        bars.set_xlabel("probability")
        bars.set_ylabel("likeliest words")
        if len(shown) > 1:
            bars.legend(fontsize=8)
        return figure


def _spectrogram(axes: Axes, frames: Tensor) -> float:
    """Draw features ``(T, F)``; how many seconds these are."""
    seconds = 0.01 * len(frames)
    image = frames.T.numpy(force=True)
    axes.imshow(image, origin="lower", aspect="auto", cmap="Greys", extent=(0, seconds, 0, len(image)))
    axes.set_ylabel("mel bin")
    axes.set_xlabel("seconds")
    return seconds
