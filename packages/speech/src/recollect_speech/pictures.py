"""Pictures of recordings."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from torch import Tensor

from recollect_speech.models.alignment import Word


class HeardPicture(NamedTuple):
    """A recording: spectrogram, what was said and when, and which earlier segments each segment read.

    Attributes:
        title: What was said and what was recognized.
        frames: ``(T, F)`` log-mel features, 100 a second.
        words: With steps for times.
        step: Seconds of a step.
        early: Seconds that the first step begins before the first frame.
        weights: ``(segments, segments)``, how much each segment read of each one before; none without memory.
        segment: Seconds of a segment.
    """

    title: str
    frames: Tensor
    words: Sequence[Word]
    step: float
    early: float
    weights: Tensor | None = None
    segment: float = 0.0

    def draw(self) -> Figure:
        """The figure."""
        rows = 2 if self.weights is not None else 1
        figure = Figure(figsize=(9, 2.6 + 2.4 * (rows - 1)), layout="constrained")
        seconds = 0.01 * len(self.frames)
        axes = figure.add_subplot(rows, 1, 1)
        axes.imshow(
            self.frames.T.numpy(force=True),
            origin="lower",
            aspect="auto",
            cmap="Greys",
            extent=(0, seconds, 0, 1),
        )
        axes.set_title(self.title.replace("$", r"\$"), fontsize=9, loc="left")
        axes.set_yticks([])
        axes.set_ylabel("mel bins")
        axes.set_xlabel("seconds")
        for word in self.words:
            start, end = (min(max(at * self.step - self.early, 0), seconds) for at in (word.start, word.end))
            axes.axvspan(start, end, ymin=0.88, color="tab:orange", alpha=0.35, linewidth=0)
            label = f"{word.text} {word.confidence:.2f}".replace("$", r"\$")
            axes.text((start + end) / 2, 0.94, label, ha="center", va="center", fontsize=7)
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
