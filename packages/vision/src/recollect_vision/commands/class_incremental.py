"""Class-incremental learning without training: accuracy by number of examples of new classes in memory.

``recollect-vision class-incremental RUN [RUN …]`` takes run folders trained with ``--data.leave_out``. It
writes examples of the classes that were left out to the memory, classifies the test images of old and new
classes, and erases the new classes again. There is no gradient step.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from recollect.memories.example import ExampleMemory, ExampleMethod
from recollect.state import map_state
from recollect.training import DataError, TrainedRun
from recollect.training.figures import save
from recollect.training.load import report_runs
from recollect_vision.commands.features import LabelledFeatures, classification_run, split_features
from recollect_vision.data.classification import ImageData
from recollect_vision.figures.classification import CurveFigure
from recollect_vision.models.classification import ImageClassifier
from recollect_vision.tasks.classification import Classification

SHOTS = (0, 1, 2, 5, 10, 20, 50, 100)

DRAWS = 10
"""Random draws of examples; the accuracies are means over them."""

READINGS: dict[ExampleMethod, str] = {"matching": "read one by one", "prototypes": "read as prototypes"}
"""Ways to read the same examples; training is the same for both."""


class ShotAccuracy(NamedTuple):
    """Accuracies with old and new classes as possible answers.

    Attributes:
        shots: Examples of each new class in memory.
        old: Accuracy on the test images of old classes, ``(draws,)``.
        new: Accuracy on the test images of new classes, ``(draws,)``.
        restored: Whether erasing the new classes restored every probability of old images to the bit.
    """

    shots: int
    old: Tensor
    new: Tensor
    restored: bool


def all_features(task: Classification, data: ImageData) -> tuple[LabelledFeatures, LabelledFeatures]:
    """Compute the features of the training and test images of all classes, including those left out.

    Raises:
        DataError: If no class was left out, or the network has no memory of examples.
    """
    if not data.leave_out:
        raise DataError("no class was left out: train with --data.leave_out '[Bag, Dress]', for instance")
    if task.model.examples is None:
        raise DataError(
            "this network has no memory of examples to write to: train with --model.example_memory"
        )
    return split_features(task, data, "train"), split_features(task, data, "test")


@torch.no_grad()
def accuracy_by_shots(
    model: ImageClassifier,
    images: tuple[LabelledFeatures, LabelledFeatures],
    old: int,
    shots: Sequence[int] = SHOTS,
    reading: ExampleMethod | None = None,
    mix_weight: float | None = None,
) -> list[ShotAccuracy]:
    """Measure the accuracy for each number of examples of the classes that were left out.

    Args:
        model: The trained model, with a memory of examples.
        images: Features of the training images, from which examples are drawn, and of the test images.
        old: Number of classes the model was trained on; they come first.
        shots: Numbers of examples of each new class.
        reading: How examples are read; as the model reads them by default.
        mix_weight: Weight λ of the memory; the model's own by default.
    """
    examples = cast(ExampleMemory, model.examples)
    method = examples.method
    examples.method = reading or method
    rows = [_measure(model, *images, old, count, mix_weight) for count in shots]
    examples.method = method
    return rows


def _measure(
    model: ImageClassifier,
    train: LabelledFeatures,
    test: LabelledFeatures,
    old: int,
    shots: int,
    mix_weight: float | None,
) -> ShotAccuracy:
    is_old = test.label < old
    before = model.classify(test.features[is_old], mix_weight).probability
    right: list[tuple[float, float]] = []
    restored, saved = True, map_state(Tensor.clone, model.example_state.get())
    for draw in range(DRAWS if shots else 1):
        generator = torch.Generator().manual_seed(draw)
        for label in range(old, int(train.label.max()) + 1):
            candidates = (train.label == label).nonzero().squeeze(1)
            chosen = candidates[torch.randperm(len(candidates), generator=generator)[:shots]]
            if shots:
                model.remember(train.features[chosen], train.label[chosen], chosen)
        predicted = model.classify(test.features, mix_weight).probability.argmax(1)
        hit = (predicted == test.label).float()
        right.append((float(hit[is_old].mean()), float(hit[~is_old].mean())))
        for label in range(old, int(train.label.max()) + 1):
            model.forget(label)
        restored &= torch.equal(before, model.classify(test.features[is_old], mix_weight).probability)
        model.example_state.set(saved)  # every draw starts from the same slots
    on_old, on_new = torch.tensor(right).T
    return ShotAccuracy(shots, on_old, on_new, restored)


def report(folder: str, run: TrainedRun) -> None:
    """Print the accuracies of a run and draw them in its ``figures`` folder."""
    task, data = classification_run(folder, run)
    curves = {}
    images, old = all_features(task, data), len(data.classes)
    for reading, name in READINGS.items():
        rows = accuracy_by_shots(task.model, images, old, reading=reading)
        print(f"{folder}, {name}; new: {', '.join(data.leave_out)}")
        for row in rows:
            erased = "as before" if row.restored else "CHANGED"
            print(
                f"  {row.shots:>3} examples  old {_mean(row.old)}  new {_mean(row.new)}  "
                f"once erased: {erased}"
            )
        for kind, values in (("old", [r.old for r in rows]), ("new", [r.new for r in rows])):
            curves[f"{kind} classes, {name}"] = (
                [float(v.mean()) for v in values],
                [float(v.std(correction=0)) for v in values],
            )
    picture = Path(folder) / "figures" / "class-incremental.png"
    save(CurveFigure(f"learned after training: {', '.join(data.leave_out)}", SHOTS, curves).draw(), picture)
    print(f"{picture}")


def run(options: argparse.Namespace) -> None:
    """Measure the run folders ``options.runs``."""
    report_runs("recollect_vision", options.runs, report)


def _mean(values: Tensor) -> str:
    spread = f" ± {values.std():.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"
