"""Features that a trained classifier computes of the images of a split."""

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
    """Return task and data of a run of ``Classification``.

    Raises:
        DataError: If the run is of another task.
    """
    task = run.task
    if not isinstance(task, Classification):
        raise DataError(f"{folder} is not a run of Classification but of {type(task).__name__}")
    return task, task.data


def split_features(
    task: Classification, data: ImageData, split: Split, numbers: Sequence[int] | None = None
) -> LabelledFeatures:
    """Compute the features of a split.

    Args:
        task: The trained task.
        data: The images.
        split: The split.
        numbers: Images of the split's set; all by default, including those of classes that were left out.

    Raises:
        DataError: If the data has no such split.
    """
    part = data.part(split)
    if part is None:
        raise DataError(f"{data.source} has no {split} split")
    chosen = list(range(len(part)) if numbers is None else numbers)
    return LabelledFeatures(task.extract_features(part, chosen), part.labels[chosen])
