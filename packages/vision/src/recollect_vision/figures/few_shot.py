"""Figures of few-shot episodes: each query beside the examples it was compared with."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from recollect.training.figures import COLOURS, title
from recollect_vision.data.episodes import draw_episode, episode_generator
from recollect_vision.metrics.few_shot import FeatureTable, Setting, group_by_class
from recollect_vision.models.few_shot import FewShotClassifier
from recollect_vision.types import LabelledImages

RIGHT, WRONG = COLOURS[:2]


class EpisodeFigure(NamedTuple):
    """The queries of an episode beside all its examples.

    Attributes:
        title: The title.
        queries: ``(Q, 1, S, S)`` in [0, 1], ink 1.
        examples: ``(W, 1, S, S)``, the examples in memory.
        weights: ``(Q, W)``, weight of each example for each query; ``None`` without a memory.
        answers: Predicted class of each query.
        truths: True class of each query.
        labels: Class of each example.
    """

    title: str
    queries: Tensor
    examples: Tensor
    weights: Tensor | None
    answers: Sequence[int]
    truths: Sequence[int]
    labels: Sequence[int]

    @property
    def name(self) -> str:
        """See ``recollect.training.NamedFigure``."""
        return "episode"

    def draw(self) -> Figure:
        """Draw one row per query: the query, framed by whether the prediction is right, then all examples."""
        rows, columns = len(self.queries), len(self.examples)
        figure = Figure(figsize=(0.85 * (columns + 1) + 0.3, 0.98 * rows + 0.9), layout="constrained")
        title(figure, f"{self.title}. Framed: the answer, blue where right, orange where wrong")
        grid = figure.subplots(rows, columns + 1, squeeze=False)
        for row, axes in enumerate(grid):
            right = self.answers[row] == self.truths[row]
            _show(axes[0], self.queries[row], RIGHT if right else WRONG)
            axes[0].set_ylabel(f"query {row + 1}", fontsize=7)
            for column, label in enumerate(self.labels):
                answered = label == self.answers[row]
                frame = (RIGHT if right else WRONG) if answered else "lightgrey"
                _show(axes[column + 1], self.examples[column], frame)
                if self.weights is not None:
                    weight, heavy = float(self.weights[row, column]), "bold" if answered else "normal"
                    axes[column + 1].set_xlabel(f"{weight:.2f}", fontsize=7, fontweight=heavy, labelpad=2)
        grid[0][0].set_title("query", fontsize=7)
        for column, label in enumerate(self.labels):
            grid[0][column + 1].set_title(f"class {label + 1}", fontsize=7)
        return figure


def _show(axes: Axes, image: Tensor, frame: str) -> None:
    axes.imshow(1 - image[0].float().cpu().numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(frame)
        side.set_linewidth(2)


MAX_EXAMPLES = 10
"""Largest number of examples of an episode that is drawn."""


def episode_figures(
    model: FewShotClassifier, batch: LabelledImages, settings: Sequence[Setting], seed: int
) -> list[EpisodeFigure]:
    """Return a picture for each setting that is small enough and for which the batch has enough classes."""
    features = group_by_class(model(batch.images), batch.labels)
    pixels = group_by_class(batch.images.flatten(1), batch.labels)
    side = batch.images.shape[-1]
    return [
        _picture(model, features, pixels, side, setting, seed)
        for setting in settings
        if setting.ways * setting.shots <= MAX_EXAMPLES and setting.ways <= len(features.counts)
    ]


def _picture(
    model: FewShotClassifier,
    features: FeatureTable,
    pixels: FeatureTable,
    side: int,
    setting: Setting,
    seed: int,
) -> EpisodeFigure:
    """Draw an episode; the last image of each class is the query, the others are examples."""
    drawn = [draw_episode(features.counts, setting.ways, setting.shots + 1, episode_generator(seed, 0))]
    x = features.take(drawn).features[0]
    images = pixels.take(drawn).features[0].view(setting.ways, -1, 1, side, side)
    labels = torch.arange(setting.ways, device=x.device).repeat_interleave(setting.shots)
    episode = (x[:, :-1].flatten(0, 1), labels, x[:, -1])
    answers = model.answer(*episode, classes=setting.ways).log_probability.argmax(-1)
    weights = model.compare(*episode)
    how = "query 1 is of class 1, and so on" + ("; weights below" if weights is not None else "; no memory")
    return EpisodeFigure(
        f"{setting.ways}-way {setting.shots}-shot: {how}",
        images[:, -1],
        images[:, :-1].flatten(0, 1),
        weights,
        answers.tolist(),
        range(setting.ways),
        labels.tolist(),
    )
