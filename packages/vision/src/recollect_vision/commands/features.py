"""Trained classifiers, and what they make of the images of a split."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from recollect.training import DataError, Split, TrainedRun
from recollect_vision.data.classification import ImageData
from recollect_vision.tasks.classification import Classification


class LabelledFeatures(NamedTuple):
    """Features and labels of N images: ``(N, D)`` and ``(N,)``."""

    features: Tensor
    label: Tensor


def classification_run(folder: str, run: TrainedRun) -> tuple[Classification, ImageData]:
    """The parts of a run of ``Classification``.

    Raises:
        DataError: If it is of another task.
    """
    task, data = run
    if not isinstance(task, Classification) or not isinstance(data, ImageData):
        raise DataError(f"{folder} is no run of Classification, but of {type(task).__name__}")
    return task, data


def split_features(
    task: Classification, data: ImageData, split: Split, numbers: Sequence[int] | None = None
) -> LabelledFeatures:
    """Images of a split as the network sees them.

    Args:
        task: Trained.
        data: The images.
        split: Whose.
        numbers: Which images of its set; by default all, those of classes that were left out included.

    Raises:
        DataError: If there is no such split.
    """
    part = data.part(split)
    if part is None:
        raise DataError(f"{data.source} has no {split} split")
    chosen = list(range(len(part)) if numbers is None else numbers)
    return LabelledFeatures(task.extract_features(part, chosen), part.labels[chosen])
