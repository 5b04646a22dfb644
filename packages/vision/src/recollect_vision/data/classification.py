"""Base of data modules for image classification."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import Transform

from recollect.training import DataModule, Split
from recollect.training.errors import ArgumentError
from recollect_vision.data.image_files import image_files, labelled_files
from recollect_vision.data.image_set import ImageFiles, ImageSet
from recollect_vision.data.splits import SPLITS, Splits, check_classes, hold_out
from recollect_vision.types import ImageBatch, ImageSizes


class AugmentedSubset(Dataset[tuple[Tensor, int, int]]):
    """A subset of an image set with augmentation; an item is image, label and number in the set.

    Args:
        images: The set.
        numbers: Numbers of the images in the set.
        augmentation: Transforms applied to each image.
    """

    def __init__(self, images: ImageSet, numbers: list[int], augmentation: Sequence[Transform] = ()) -> None:
        self.images = images
        self.numbers = numbers
        self.augmentation = augmentation

    def __len__(self) -> int:
        """Number of images."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        """Return image, label and number."""
        number = self.numbers[index]
        image = self.images.image(number)
        for transform in self.augmentation:
            image = transform(image)
        return image, int(self.images.labels[number]), number


class ImageData(DataModule):
    """Labelled images, normalised by mean and standard deviation of each channel over the training split.

    Subclasses implement ``read``, and ``prepare_data`` if there is something to download.

    Args:
        batch_size: Images in a batch.
        num_workers: As in ``DataModule``.
        seed: Seed of shuffling and of the held-out images.
        augmentation: Transforms of ``torchvision.transforms.v2``, applied to each training image.
        held_out: Fraction of the training images of each class for validation, if the dataset has no
            validation split.
        leave_out: Classes to leave out of all splits. They are numbered last, so that a memory can learn them
            after training: see ``recollect-vision class-incremental``.
        images: Image file or folder that ``predict`` classifies; the test split by default.
        examples: Folder with a subfolder of images for each class, old or new, that ``test`` and ``predict``
            write to the memory first.
        forget: Classes that ``test`` and ``predict`` erase from the memory first.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        batch_size: int = 128,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        augmentation: Sequence[Transform] = (),
        held_out: float = 0.1,
        leave_out: Sequence[str] = (),
        images: Path | None = None,
        examples: Path | None = None,
        forget: Sequence[str] = (),
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be between 0 and 1, got {held_out}")
        self.augmentation = list(augmentation)
        self.held_out = held_out
        self.leave_out = list(leave_out)
        self.images = images
        self.examples = examples
        self.forget = list(forget)

    # --- implemented by subclasses --------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> Splits:
        """Read the images; classes are numbered from 0."""

    @property
    def source(self) -> str:
        """Name of the dataset in messages."""
        return type(self).__name__

    # --- public attributes ----------------------------------------------------------------------------------

    @cached_property
    def splits(self) -> Splits:
        """The images by split; classes that are left out are numbered last."""
        splits = self.read()
        check_classes(splits, self.source)
        if unknown := [name for name in self.leave_out if name not in splits.classes]:
            raise ArgumentError(
                f"--data.leave_out names {', '.join(unknown)}, but the classes are "
                f"{', '.join(splits.classes)}"
            )
        trained = [name for name in splits.classes if name not in self.leave_out]
        if len(trained) < 2:
            raise ArgumentError("--data.leave_out leaves fewer than two classes to learn")
        classes = [*trained, *self.leave_out]
        new = torch.tensor([classes.index(name) for name in splits.classes])
        for part in splits[1:]:
            if part is not None:
                part.labels = new[part.labels]
        return splits._replace(classes=classes)

    @cached_property
    def numbers(self) -> dict[Split, list[int]]:
        """Numbers of the images of each split in its set."""
        classes, train, val, test = self.splits
        num_trained = len(classes) - len(self.leave_out)
        chosen: dict[Split, list[int]] = {}
        for split, part in zip(SPLITS, (train, val, test), strict=True):
            chosen[split] = [] if part is None else (part.labels < num_trained).nonzero().squeeze(1).tolist()
        if val is None:
            chosen["train"], chosen["val"] = hold_out(
                chosen["train"], train.labels, self.held_out, self.seed, classes
            )
        return chosen

    def part(self, split: Split) -> ImageSet | None:
        """Return the image set of a split."""
        _, train, val, test = self.splits
        return dict(zip(SPLITS, (train, train if val is None else val, test), strict=True)).get(split)

    @property
    def classes(self) -> list[str]:
        """Names of the trained classes."""
        return list(self.fitted["classes"])

    @property
    def sizes(self) -> ImageSizes:
        """Size of the images."""
        return ImageSizes(*self.fitted["sizes"])

    def fit(self) -> dict[str, Any]:
        """Return classes, size, and mean and standard deviation of each channel."""
        numbers, train = self.numbers["train"], self.splits.train
        count = len(self.splits.classes) - len(self.leave_out)
        total, square = torch.zeros(2, train.sizes.channels, dtype=torch.float64)
        for number in numbers:
            pixels = train.image(number).flatten(1).double() / 255
            total += pixels.mean(1)
            square += pixels.square().mean(1)
        mean = total / len(numbers)
        deviation = (square / len(numbers) - mean.square()).clamp_min(1e-6).sqrt()
        return {
            "classes": self.splits.classes[:count],
            "sizes": tuple(train.sizes),
            "mean": mean.tolist(),
            "deviation": deviation.tolist(),
            "trained_on": len(train),
            "files": [train.name(n) for n in range(len(train))] if isinstance(train, ImageFiles) else None,
        }

    @property
    def num_training_images(self) -> int:
        """Number of images in the training set, including those held out."""
        return int(self.fitted["trained_on"])

    def image_name(self, number: int) -> str:
        """Return the name of image ``number`` of the training set."""
        files = self.fitted["files"]
        return f"train/{number}" if files is None else str(files[number])

    def example_numbers(self, per_class: int) -> list[int]:
        """Choose up to ``per_class`` training images of each class for a memory."""
        labels, numbers = self.splits.train.labels, self.numbers["train"]
        shuffled = [numbers[index] for index in self.shuffled(len(numbers), 0)]
        by_class: dict[int, list[int]] = {label: [] for label in range(len(self.classes))}
        for number in shuffled:
            if len(by_class[int(labels[number])]) < per_class:
                by_class[int(labels[number])].append(number)
        return [number for chosen in by_class.values() for number in chosen]

    def new_examples(self) -> tuple[list[str], ImageSet] | None:
        """Return class names and images of ``examples``, or ``None``."""
        if self.examples is None:
            return None
        names, paths, labels = labelled_files(self.examples)
        return names, ImageFiles(self.sizes, paths, labels)

    # --- implementation of the base class -------------------------------------------------------------------

    def dataset(self, split: Split) -> AugmentedSubset | None:
        """Return the images of a split; ``predict`` has ``images`` or else the test split."""
        if split == "predict":
            return None if self.predicted is None else AugmentedSubset(self.predicted, self._to_predict())
        part = self.part(split)
        if part is None:
            return None
        return AugmentedSubset(part, self.numbers[split], self.augmentation if split == "train" else ())

    def is_costly(self, split: Split) -> bool:
        """Images that are augmented or decoded on each access are costly."""
        images = self.predicted if split == "predict" else self.part(split)
        return (split == "train" and bool(self.augmentation)) or not (images is None or images.in_memory)

    @cached_property
    def predicted(self) -> ImageSet | None:
        """The image set of ``predict``."""
        if self.images is None:
            return self.splits.test
        paths = image_files(self.images)
        return ImageFiles(self.sizes, paths, torch.full((len(paths),), -1))

    def _to_predict(self) -> list[int]:
        if self.images is None:
            return self.numbers["test"]
        return list(range(len(cast(ImageSet, self.predicted))))

    def denormalized(self, images: Tensor) -> Tensor:
        """Invert ``normalized``; the result is in [0, 1]."""
        mean, deviation = (torch.tensor(self.fitted[name]).view(-1, 1, 1) for name in ("mean", "deviation"))
        return (images.cpu() * deviation + mean).clamp(0, 1)

    def collate(self, items: list[Any]) -> ImageBatch:
        """Stack and normalise."""
        images, labels, numbers = zip(*items, strict=True)
        return ImageBatch(self.normalized(torch.stack(images)), torch.tensor(labels), torch.tensor(numbers))

    def normalized(self, images: Tensor) -> Tensor:
        """Normalise images ``(B, C, height, width)`` uint8 to mean 0 and standard deviation 1 per channel."""
        mean, deviation = (torch.tensor(self.fitted[name]).view(-1, 1, 1) for name in ("mean", "deviation"))
        return (images.float() / 255 - mean) / deviation
