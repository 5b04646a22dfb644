"""Figures of a classifier: confusion matrix, neighbours in memory, accuracy by examples."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from recollect.training.figures import COLOURS, plain, title
from recollect_vision.data.classification import ImageData
from recollect_vision.models.classification import NO_EXAMPLE, ClassifierOutput
from recollect_vision.types import ImageBatch

MAX_ANNOTATED_CLASSES = 20
"""Largest number of classes for which the cells of the matrix carry numbers."""


class ConfusionFigure(NamedTuple):
    """A confusion matrix.

    Attributes:
        counts: ``(C, C)``; rows are true classes, columns predicted classes.
        classes: Names of the classes.
    """

    counts: Tensor
    classes: Sequence[str]

    @property
    def name(self) -> str:
        """See ``recollect.training.NamedFigure``."""
        return "confusion"

    def draw(self) -> Figure:
        """See ``recollect.training.NamedFigure``."""
        count = len(self.classes)
        side = 2.5 + 0.45 * min(count, 40)
        figure = Figure(figsize=(side + 1, side), layout="constrained")
        axes = figure.add_subplot()
        shares = self.counts / self.counts.sum(1, keepdim=True).clamp_min(1)
        title(figure, f"confusion matrix of {int(self.counts.sum()):,} images")
        image = axes.imshow(shares.numpy(), vmin=0, vmax=1, cmap="Blues")
        figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
        names = [plain(name) for name in self.classes]
        axes.set_xticks(range(count), names, rotation=90, fontsize=8)
        axes.set_yticks(range(count), names, fontsize=8)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        if count <= MAX_ANNOTATED_CLASSES:
            for row, column in self.counts.nonzero().tolist():
                colour = "white" if shares[row, column] > 0.5 else "black"
                number = str(int(self.counts[row, column]))
                axes.text(column, row, number, ha="center", va="center", fontsize=7, color=colour)
        return figure


class CaptionedImage(NamedTuple):
    """An image with a caption.

    Attributes:
        pixels: ``(channels, height, width)`` in [0, 1].
        title: The caption above it.
    """

    pixels: Tensor
    title: str


class NeighbourFigure(NamedTuple):
    """Images beside their nearest examples in memory.

    Attributes:
        rows: For each image, the image itself and then its examples, by weight.
    """

    rows: Sequence[Sequence[CaptionedImage]]

    @property
    def name(self) -> str:
        """See ``recollect.training.NamedFigure``."""
        return "neighbours"

    def draw(self) -> Figure:
        """See ``recollect.training.NamedFigure``."""
        columns = max(len(row) for row in self.rows)
        figure = Figure(figsize=(1.5 * columns, 0.6 + 1.75 * len(self.rows)), layout="constrained")
        title(
            figure,
            "the least certain images (orange) and the training images each was compared with, by weight",
        )
        for r, row in enumerate(self.rows):
            for c, shown in enumerate(row):
                axes = figure.add_subplot(len(self.rows), columns, r * columns + c + 1)
                pixels = shown.pixels.permute(1, 2, 0).numpy()
                axes.imshow(
                    pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=1
                )
                axes.set_title(plain(shown.title), fontsize=8)
                axes.set_xticks([])
                axes.set_yticks([])
                for spine in axes.spines.values():
                    spine.set(edgecolor=COLOURS[1] if c == 0 else "0.8", linewidth=2 if c == 0 else 1)
        return figure


class CurveFigure(NamedTuple):
    """Accuracy by number of examples.

    Attributes:
        title: The title.
        shots: Numbers of examples of each new class.
        curves: Means and standard deviations by name, ``(len(shots),)`` each.
    """

    title: str
    shots: Sequence[int]
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]

    def draw(self) -> Figure:
        """See ``recollect.training.NamedFigure``."""
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, (means, deviations)) in enumerate(self.curves.items()):
            axes.errorbar(
                range(len(self.shots)),
                means,
                deviations,
                label=name,
                color=COLOURS[number // 2],
                linestyle="-" if number % 2 == 0 else "--",
                marker="o",
                markersize=3,
                capsize=2,
            )
        axes.set_xticks(range(len(self.shots)), [str(shots) for shots in self.shots])
        axes.set_xlabel("examples of each new class")
        axes.set_ylabel("accuracy")
        axes.set_ylim(0, 1)
        title(figure, self.title)
        axes.legend(frameon=False, fontsize=8)
        return figure


ROWS = 6
"""Images in the picture."""

NEIGHBOURS = 5
"""Examples beside each image."""


def neighbour_figures(
    data: ImageData, classes: Sequence[str], batch: ImageBatch, found: ClassifierOutput
) -> list[NeighbourFigure]:
    """Return the least certain images of a batch, each with the examples it was compared with."""
    if found.number.shape[1] == 0:
        return []
    train = data.splits.train
    unsure = found.probability.amax(1).argsort()[:ROWS].cpu()
    queries = data.denormalized(batch.images[unsure])
    predicted = found.probability.argmax(1)
    rows = []
    for pixels, i in zip(queries, unsure.tolist(), strict=True):
        truth = classes[int(batch.label[i])]
        row = [CaptionedImage(pixels.float(), f"true: {truth}\npredicted: {classes[int(predicted[i])]}")]
        best = found.weight[i].topk(min(NEIGHBOURS, found.weight.shape[1]))
        for weight, slot in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            number = int(found.number[i, slot])
            if number != NO_EXAMPLE and weight > 0 and number < len(train):
                image = train.image(number).to(torch.float32) / 255
                row.append(
                    CaptionedImage(image, f"{classes[int(train.labels[number])]}\nweight {weight:.2f}")
                )
        rows.append(row)
    return [NeighbourFigure(rows)] if any(len(row) > 1 for row in rows) else []
