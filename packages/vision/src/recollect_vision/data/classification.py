"""Images to classify: what all datasets of labelled images have in common."""

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
    """Some images of a set, augmented: image, label, number in the set.

    Args:
        images: The set.
        numbers: Which of them.
        augmentation: Applied to each image in turn.
    """

    def __init__(self, images: ImageSet, numbers: list[int], augmentation: Sequence[Transform] = ()) -> None:
        self.images = images
        self.numbers = numbers
        self.augmentation = augmentation

    def __len__(self) -> int:
        """How many there are."""
        return len(self.numbers)

    def __getitem__(self, place: int) -> tuple[Tensor, int, int]:
        """One of them."""
        number = self.numbers[place]
        image = self.images.image(number)
        for transform in self.augmentation:
            image = transform(image)
        return image, int(self.images.labels[number]), number


class ImageData(DataModule):
    """Labelled images, normalised by mean and deviation of each channel over the training split.

    A subclass implements ``read``, and ``prepare_data`` where there is something to fetch.

    Args:
        batch_size: Images in a batch.
        num_workers: As in ``DataModule``.
        seed: Of shuffling, and of what is held out.
        augmentation: Transforms of ``torchvision.transforms.v2``, applied to each training image in turn.
        held_out: Share of each class of the training images that is kept for validation, where the dataset
            has no validation split.
        leave_out: Classes to leave out of all splits. They are numbered last, so that a memory can learn them
            after training: see ``recollect_vision.commands.class_incremental``.
        images: What ``predict`` classifies: an image file or a folder of them; the test split by default.
        examples: Folder with a folder of images for each class, which ``test`` and ``predict`` write to
            the memory beforehand; classes may be new ones.
        forget: Classes that ``test`` and ``predict`` erase from the memory beforehand.

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

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> Splits:
        """The images, classes numbered from 0."""

    @property
    def source(self) -> str:
        """What the images are called in messages."""
        return type(self).__name__

    # --- what is known of the data --------------------------------------------------------------------------

    @cached_property
    def splits(self) -> Splits:
        """The images as they were read, with the classes that are left out numbered last."""
        splits = self.read()
        check_classes(splits, self.source)
        if unknown := [name for name in self.leave_out if name not in splits.classes]:
            raise ArgumentError(
                f"--data.leave_out names {', '.join(unknown)}, but the classes are "
                f"{', '.join(splits.classes)}"
            )
        kept = [name for name in splits.classes if name not in self.leave_out]
        if len(kept) < 2:
            raise ArgumentError("--data.leave_out leaves fewer than two classes to learn")
        classes = [*kept, *self.leave_out]
        new = torch.tensor([classes.index(name) for name in splits.classes])
        for part in splits[1:]:
            if part is not None:
                part.labels = new[part.labels]
        return splits._replace(classes=classes)

    @cached_property
    def numbers(self) -> dict[Split, list[int]]:
        """Which images of its set each split has."""
        classes, train, val, test = self.splits
        known = len(classes) - len(self.leave_out)
        chosen: dict[Split, list[int]] = {}
        for split, part in zip(SPLITS, (train, val, test), strict=True):
            chosen[split] = [] if part is None else (part.labels < known).nonzero().squeeze(1).tolist()
        if val is None:
            chosen["train"], chosen["val"] = hold_out(
                chosen["train"], train.labels, self.held_out, self.seed, classes
            )
        return chosen

    def part(self, split: Split) -> ImageSet | None:
        """The set that a split's images are from."""
        _, train, val, test = self.splits
        return dict(zip(SPLITS, (train, train if val is None else val, test), strict=True)).get(split)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that were learnt."""
        return list(self.learnt["classes"])

    @property
    def sizes(self) -> ImageSizes:
        """Size of every image."""
        return ImageSizes(*self.learnt["sizes"])

    def learn(self) -> dict[str, Any]:
        """Classes, size, and mean and deviation of each channel."""
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
        """How many images the training set has, those held out included."""
        return int(self.learnt["trained_on"])

    def image_name(self, number: int) -> str:
        """What image ``number`` of the training set is called."""
        files = self.learnt["files"]
        return f"train/{number}" if files is None else str(files[number])

    def example_numbers(self, per_class: int) -> list[int]:
        """Which training images a memory keeps: ``per_class`` of each class, or all there are."""
        labels, numbers = self.splits.train.labels, self.numbers["train"]
        mixed = [numbers[place] for place in self.shuffled(len(numbers), 0)]
        by_class: dict[int, list[int]] = {label: [] for label in range(len(self.classes))}
        for number in mixed:
            if len(by_class[int(labels[number])]) < per_class:
                by_class[int(labels[number])].append(number)
        return [number for chosen in by_class.values() for number in chosen]

    def new_examples(self) -> tuple[list[str], ImageSet] | None:
        """Class names and images of ``examples``, if there are any."""
        if self.examples is None:
            return None
        names, paths, labels = labelled_files(self.examples)
        return names, ImageFiles(self.sizes, paths, labels)

    # --- what the base class asks for -----------------------------------------------------------------------

    def dataset(self, split: Split) -> AugmentedSubset | None:
        """The images of a split; ``predict`` has those that were asked for, else the test split's."""
        if split == "predict":
            return None if self.predicted is None else AugmentedSubset(self.predicted, self._to_predict())
        part = self.part(split)
        if part is None:
            return None
        return AugmentedSubset(part, self.numbers[split], self.augmentation if split == "train" else ())

    def is_costly(self, split: Split) -> bool:
        """Images that are augmented, or decoded each time because they are too many to be kept."""
        images = self.predicted if split == "predict" else self.part(split)
        return (split == "train" and bool(self.augmentation)) or not (images is None or images.in_memory)

    @cached_property
    def predicted(self) -> ImageSet | None:
        """The set that ``predict`` takes its images from."""
        if self.images is None:
            return self.splits.test
        paths = image_files(self.images)
        return ImageFiles(self.sizes, paths, torch.full((len(paths),), -1))

    def _to_predict(self) -> list[int]:
        if self.images is None:
            return self.numbers["test"]
        return list(range(len(cast(ImageSet, self.predicted))))

    def denormalized(self, images: Tensor) -> Tensor:
        """The reverse of ``normalized``, in [0, 1]."""
        mean, deviation = (torch.tensor(self.learnt[name]).view(-1, 1, 1) for name in ("mean", "deviation"))
        return (images.cpu() * deviation + mean).clamp(0, 1)

    def collate(self, items: list[Any]) -> ImageBatch:
        """Stack and normalise."""
        images, labels, numbers = zip(*items, strict=True)
        return ImageBatch(self.normalized(torch.stack(images)), torch.tensor(labels), torch.tensor(numbers))

    def normalized(self, images: Tensor) -> Tensor:
        """Images ``(B, C, height, width)`` uint8 with mean 0 and deviation 1 for each channel."""
        mean, deviation = (torch.tensor(self.learnt[name]).view(-1, 1, 1) for name in ("mean", "deviation"))
        return (images.float() / 255 - mean) / deviation
