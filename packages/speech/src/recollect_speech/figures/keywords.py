"""Figures of single words: spectrogram, and word probabilities with and without the memory."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from recollect.training import NamedFigure
from recollect.training.figures import COLOURS, plain, title
from recollect_speech.data.units import Units
from recollect_speech.figures.spectrogram import draw_spectrogram, title_of, unpadded
from recollect_speech.models.acoustic_model import AcousticOutput
from recollect_speech.models.keywords import KeywordSpotter
from recollect_speech.types import SpeechBatch, TimedWord

WORDS = 10
"""Number of words that are drawn, the most probable first."""


class KeywordFigure(NamedTuple):
    """Spectrogram of a recording of one word, and the probabilities of the words.

    Attributes:
        title: The transcript and what was recognized.
        frames: ``(T, F)`` log-mel features, 100 per second.
        names: The V words.
        alone: ``(V,)``, probabilities of the network alone.
        adapted: ``(V,)``, probabilities with the memory of the speaker, after all recordings including this
            one; ``None`` without a memory.
    """

    title: str
    frames: Tensor
    names: Sequence[str]
    alone: Tensor
    adapted: Tensor | None = None

    @property
    def name(self) -> str:
        """See ``recollect.training.NamedFigure``."""
        return "word"

    def draw(self) -> Figure:
        """See ``recollect.training.NamedFigure``."""
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        title(figure, self.title)
        spectrogram, bars = figure.subplots(1, 2)
        spectrogram.set_xlim(0, draw_spectrogram(spectrogram, self.frames))
        shown = [("network alone", "tab:grey", self.alone)]
        if self.adapted is not None:
            shown.append(("with speaker memory", COLOURS[1], self.adapted))
        highest = torch.stack([values for _, _, values in shown]).amax(0)
        top = highest.argsort(descending=True)[:WORDS]
        height = 0.8 / len(shown)
        for number, (label, colour, values) in enumerate(shown):
            places = [place + number * height for place in range(len(top))]
            bars.barh(places, values[top].tolist(), height, label=label, color=colour)
        middle = 0.4 - height / 2
        names = [plain(self.names[word]) for word in top.tolist()]
        bars.set_yticks([place + middle for place in range(len(names))], names)
        bars.invert_yaxis()
        bars.set_xlim(0, 1)
        bars.set_xlabel("probability")
        bars.set_ylabel("most probable words")
        if len(shown) > 1:
            bars.legend(fontsize=8)
        return figure


def keyword_figures(
    model: KeywordSpotter,
    units: Units,
    batch: SpeechBatch,
    output: AcousticOutput,
    words: Sequence[Sequence[TimedWord]],
) -> list[NamedFigure]:
    """Figures of the first recordings of a batch, with and without the memory of the speaker."""
    names = [units.name(unit).strip() for unit in range(1, len(units))]
    count = len(words)
    alone = model.alone(batch.samples[:count], batch.lengths[:count]).exp()
    figures: list[NamedFigure] = []
    for i, found in enumerate(words):
        _, frames = unpadded(model, batch, i)
        adapted = None if model.memory is None else output.log_probs[i, 0, 1:].exp()
        figures.append(KeywordFigure(title_of(batch, i, found), frames, names, alone[i], adapted))
    return figures
