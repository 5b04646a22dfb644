"""Training, validation and test images of a dataset, each class in each of them."""

from collections.abc import Sequence
from typing import NamedTuple

from sklearn.model_selection import train_test_split
from torch import Tensor

from recollect.training import DataError, Split
from recollect_vision.data.image_set import ImageSet

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Splits(NamedTuple):
    """What a dataset holds.

    Attributes:
        classes: Names of the classes, in the order of their labels.
        train: To learn from.
        val: To choose by; a part of ``train`` is held out where there is none.
        test: To report on; ``None`` where there is nothing.
    """

    classes: list[str]
    train: ImageSet
    val: ImageSet | None
    test: ImageSet | None


def check_classes(splits: Splits, source: str) -> None:
    """There are two classes at least, and each split has images of each.

    Raises:
        DataError: If not.
    """
    if len(splits.classes) < 2:
        raise DataError(
            f"{source} has one class only, {', '.join(splits.classes)}: there is nothing to tell apart"
        )
    for split, part in (("training", splits.train), ("validation", splits.val), ("test", splits.test)):
        if part is None:
            continue
        counts = part.labels.bincount(minlength=len(splits.classes))
        if missing := [splits.classes[label] for label in (counts == 0).nonzero().squeeze(1).tolist()]:
            raise DataError(f"{source} has no image of class {', '.join(missing)} in its {split} split")


def hold_out(
    numbers: list[int], labels: Tensor, fraction: float, seed: int, classes: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Divide ``numbers`` in two, each class alike; the second part has ``share`` of them.

    Raises:
        DataError: If a class has too few images to be in both.
    """
    own = labels[numbers]
    counts = own.bincount()
    if scarce := [classes[c] for c in range(len(counts)) if counts[c] == 1]:
        raise DataError(f"class {', '.join(scarce)} has one image only: two are needed, to hold one out")
    size = min(
        max(round(fraction * len(numbers)), int((counts > 0).sum())), len(numbers) - int((counts > 0).sum())
    )
    first, second = train_test_split(numbers, test_size=size, random_state=seed, stratify=own.numpy())
    return sorted(first), sorted(second)
