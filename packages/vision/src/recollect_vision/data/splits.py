"""Training, validation and test images of a dataset."""

from collections.abc import Sequence
from typing import NamedTuple

from sklearn.model_selection import train_test_split
from torch import Tensor

from recollect.training import DataError, Split
from recollect_vision.data.image_set import ImageSet

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Splits(NamedTuple):
    """Images of a dataset by split.

    Attributes:
        classes: Names of the classes, in the order of their labels.
        train: Training images.
        val: Validation images; ``None`` to hold out a part of ``train``.
        test: Test images; ``None`` if the dataset has none.
    """

    classes: list[str]
    train: ImageSet
    val: ImageSet | None
    test: ImageSet | None


def check_classes(splits: Splits, source: str) -> None:
    """Check that there are at least two classes and that each split has images of every class.

    Raises:
        DataError: If not.
    """
    if len(splits.classes) < 2:
        raise DataError(f"{source} has only one class, {', '.join(splits.classes)}: at least two are needed")
    for split, part in (("training", splits.train), ("validation", splits.val), ("test", splits.test)):
        if part is None:
            continue
        counts = part.labels.bincount(minlength=len(splits.classes))
        if missing := [splits.classes[label] for label in (counts == 0).nonzero().squeeze(1).tolist()]:
            raise DataError(f"{source} has no image of class {', '.join(missing)} in its {split} split")


def hold_out(
    numbers: list[int], labels: Tensor, fraction: float, seed: int, classes: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Split ``numbers`` in two, stratified by class; the second part has ``fraction`` of them.

    Raises:
        DataError: If a class has a single image.
    """
    chosen = labels[numbers]
    counts = chosen.bincount()
    if scarce := [classes[c] for c in range(len(counts)) if counts[c] == 1]:
        raise DataError(f"class {', '.join(scarce)} has one image only: two are needed, to hold one out")
    size = min(
        max(round(fraction * len(numbers)), int((counts > 0).sum())), len(numbers) - int((counts > 0).sum())
    )
    first, second = train_test_split(numbers, test_size=size, random_state=seed, stratify=chosen.numpy())
    return sorted(first), sorted(second)
