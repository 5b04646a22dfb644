"""Figures of transcripts: spectrogram, words with their times, and reads of the memory."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from recollect import Integration, Read
from recollect.training import NamedFigure
from recollect.training.figures import COLOURS, plain, title
from recollect_speech.figures.spectrogram import draw_spectrogram, title_of, unpadded
from recollect_speech.models.recognition import SECONDS_PER_STEP, Recognizer
from recollect_speech.models.summary_memory import SummaryMemory
from recollect_speech.types import SpeechBatch, TimedWord


class TranscriptFigure(NamedTuple):
    """Spectrogram of a recording, the recognized words, and the attention of its segments to earlier ones.

    Attributes:
        title: The transcript and what was recognized.
        frames: ``(T, F)`` log-mel features, 100 per second.
        words: The recognized words.
        weights: ``(segments, segments)``, weight that each segment gives to each earlier one; ``None``
            without a memory.
        segment: Length of a segment in seconds.
    """

    title: str
    frames: Tensor
    words: Sequence[TimedWord]
    weights: Tensor | None = None
    segment: float = 0.0

    @property
    def name(self) -> str:
        """See ``recollect.training.NamedFigure``."""
        return "recognition"

    def draw(self) -> Figure:
        """See ``recollect.training.NamedFigure``."""
        rows = 2 if self.weights is not None else 1
        figure = Figure(figsize=(9, 3.2 + 2.6 * (rows - 1)), layout="constrained")
        title(figure, self.title)
        axes = figure.add_subplot(rows, 1, 1)
        seconds = draw_spectrogram(axes, self.frames)
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
        axes.set_title("weights of earlier segments in each read", fontsize=9, loc="left")
        axes.set_xlabel(f"stored segment ({self.segment:.2f} s each)")
        axes.set_ylabel("reading segment")
        axes.set_xticks(range(self.weights.shape[1]))
        axes.set_yticks(range(self.weights.shape[0]))
        axes.tick_params(labelsize=7, length=0)


def transcript_figures(
    model: Recognizer, batch: SpeechBatch, words: Sequence[Sequence[TimedWord]]
) -> list[NamedFigure]:
    """Figures of the first recordings of a batch, each transcribed by itself."""
    figures: list[NamedFigure] = []
    for i, found in enumerate(words):
        samples, frames = unpadded(model, batch, i)
        weights, segment = read_weights(model, samples)
        figures.append(TranscriptFigure(title_of(batch, i, found), frames, found, weights, segment))
    return figures


def read_weights(model: Recognizer, samples: Tensor) -> tuple[Tensor | None, float]:
    """Read weights between the segments of a recording ``(1, S)``, and the length of a segment in seconds.

    The weights are ``None`` without a ``SummaryMemory`` whose storage reports read weights.
    """
    joined = [layer for layer in model.encoder.layers if isinstance(layer, Integration)]
    memory = joined[0].memory if joined else None
    if not isinstance(memory, SummaryMemory) or memory.segment is None:
        return None, 0.0
    with memory.tracing() as reads:
        model(samples, torch.tensor([samples.shape[1]], device=samples.device))
    read = [_of_segment(read, len(reads)) for read in reads]
    if any(weights is None for weights in read) or len(read) < 2:  # the first segment reads an empty memory
        return None, 0.0
    return torch.stack(
        [weights for weights in read if weights is not None]
    ), memory.segment * SECONDS_PER_STEP


def _of_segment(read: Read, segments: int) -> Tensor | None:
    """Weights ``(segments,)`` of the entries in the order of writing, averaged over a segment's steps."""
    if read.weights is None or read.slots is not None:
        return None
    weights = read.weights[0].float().mean(0)[:segments]
    return torch.nn.functional.pad(weights, (0, segments - len(weights)))
