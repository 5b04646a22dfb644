"""Handwritten digits from scikit-learn: the default dataset, without a download."""

from typing import final

import torch
from sklearn.datasets import load_digits

from recollect_vision.data.classification import ImageData
from recollect_vision.data.image_set import StoredImages
from recollect_vision.data.splits import Splits, hold_out

TEST_FRACTION = 0.25
BRIGHTEST = 16
"""Largest grey value in the file."""


@final
class DigitsData(ImageData):
    """1,797 digits of 8 × 8 pixels (Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits").

    It has no official split: a quarter of each class, the same for every seed, is the test split.

    Args: as in ``ImageData``.
    """

    def read(self) -> Splits:
        """See ``ImageData``."""
        found = load_digits()
        images = torch.from_numpy(found.images * (255 / BRIGHTEST)).round().to(torch.uint8).unsqueeze(1)
        labels = torch.from_numpy(found.target).long()
        classes = [str(name) for name in found.target_names]
        train, test = hold_out(list(range(len(labels))), labels, TEST_FRACTION, 0, classes)
        return Splits(
            classes,
            StoredImages(images[train], labels[train], "train"),
            None,
            StoredImages(images[test], labels[test], "test"),
        )
