"""Base of few-shot data modules: episodes of training characters, and held-out characters for the test."""

from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect.training import DataError, DataModule, Split
from recollect.training.errors import ArgumentError
from recollect.validation import check_positive
from recollect_vision.data.character_splits import CharacterSplits
from recollect_vision.data.characters import Character
from recollect_vision.data.episodes import Episodes
from recollect_vision.data.support_set import QueryImages, SupportSet, read_support_set
from recollect_vision.types import EpisodeBatch, ImageSizes, LabelledImages, QueryBatch

ROTATIONS = 4
"""Rotations by multiples of 90°, including none."""

ROTATION_NOTES = {
    "everywhere": "rotations by 90°, 180° and 270° are classes of their own in every split",
    "training": "rotations by 90°, 180° and 270° are classes of their own in training only",
    "nowhere": "all upright",
}
"""Notes on ``rotations`` for the results."""


class FewShotData(DataModule):
    """Training episodes of some characters, and all images of held-out characters to draw test episodes from.

    Episode i of an epoch depends on seed, epoch and i alone. In validation and test an item is a class with
    all its images, so that each feature is computed once for all episodes. In prediction, ``images`` are
    classified by ``examples``.

    Args:
        rotations: Splits in which rotations of a character by 90°, 180° and 270° are three more classes.
        size: Height and width S of an image.
        ways: Number N of classes in a training episode.
        shots: Labelled examples of each class in a training episode.
        queries: Queries of each class in a training episode.
        episodes: Training episodes in an epoch.
        batch_size: Training episodes in a batch.
        classes_at_once: Classes in a batch of validation and test, and images in a batch of prediction.
        augmentation: Strength of the random affine maps of training images; 0 for none.
        examples: Folder with labelled examples for prediction, ``<class>/*.png``.
        images: Folder of images to classify in prediction, or one image.
        num_workers: As in ``DataModule``.
        seed: Seed of the episodes.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        rotations: Literal["everywhere", "training", "nowhere"] = "nowhere",
        size: int = 28,
        ways: int = 20,
        shots: int = 1,
        queries: int = 1,
        episodes: int = 200,
        batch_size: int = 1,
        classes_at_once: int = 50,
        augmentation: float = 1.0,
        examples: Path | None = None,
        images: Path | None = None,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        if ways < 2:
            raise ValueError(f"ways must be at least 2, got {ways}")
        check_positive(
            size=size, shots=shots, queries=queries, episodes=episodes, classes_at_once=classes_at_once
        )
        if augmentation < 0:
            raise ValueError(f"augmentation must not be negative, got {augmentation}")
        self.rotations = rotations
        self.size = size
        self.ways = ways
        self.shots = shots
        self.queries = queries
        self.episodes = episodes
        self.classes_at_once = classes_at_once
        self.augmentation = augmentation
        self.examples_folder = examples
        self.images = images

    # --- implemented by subclasses --------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> CharacterSplits:
        """Read and split all characters."""

    # --- public attributes ----------------------------------------------------------------------------------

    @property
    def sizes(self) -> ImageSizes:
        """Size of the images, which are grey."""
        return ImageSizes(1, self.size, self.size)

    @cached_property
    def splits(self) -> CharacterSplits:
        """The characters by split, read once."""
        return self.read()

    @cached_property
    def examples(self) -> SupportSet:
        """The labelled examples for prediction, read once."""
        if self.examples_folder is None:
            raise ArgumentError("prediction needs --data.examples, a folder with examples: <class>/*.png")
        return read_support_set(self.examples_folder, self.size)

    @property
    def training_classes(self) -> int:
        """Number of training classes."""
        return int(self.fitted["classes"])

    def classes(self, split: Literal["train", "val", "test"]) -> list[Tensor]:
        """Return the images ``(n, 1, S, S)`` uint8 of each class of a split; rotated classes come last."""
        upright = [character.images for character in getattr(self.splits, split)]
        if self.rotations == "nowhere" or (self.rotations == "training" and split != "train"):
            return upright
        return [images.rot90(turn, (-2, -1)) for turn in range(ROTATIONS) for images in upright]

    # --- implementation of the base class -------------------------------------------------------------------

    def fit(self) -> dict[str, Any]:
        """Return the number of training classes."""
        return {"classes": len(self.classes("train"))}

    def dataset(self, split: Split) -> Dataset[Any]:
        """Return training episodes, classes, or images to classify."""
        if split == "predict":
            if self.images is None:
                raise ArgumentError("prediction needs --data.images, a folder of images to classify")
            return QueryImages(self.images, self.size)
        if split != "train":
            return ClassImages(self.classes(split))
        each = self.shots + self.queries
        check_room(self.splits.train, each)
        classes = self.classes("train")
        if len(classes) < self.ways:
            raise ArgumentError(f"--data.ways {self.ways}: there are {len(classes)} classes to learn from")
        return Episodes(classes, self.ways, each, self.augmentation, self.episodes, self.seed)

    def is_costly(self, split: Split) -> bool:
        """Augmented episodes and images that are decoded lazily are costly."""
        return (split == "train" and self.augmentation > 0) or split == "predict"

    def batches(self, split: Split, dataset: Any, epoch: int) -> list[list[int]]:
        """Number training episodes on from epoch to epoch; keep everything else in order."""
        if split == "train":
            first, size = epoch * len(dataset), self.batch_size
        else:
            first, size = 0, self.classes_at_once
        numbers = range(first, first + len(dataset))
        return [list(numbers[start : start + size]) for start in range(0, len(dataset), size)]

    def collate(self, items: list[Any]) -> EpisodeBatch | LabelledImages | QueryBatch:
        """Stack episodes and queries; concatenate classes."""
        if isinstance(items[0], EpisodeBatch):
            return EpisodeBatch(*(torch.stack(parts) for parts in zip(*items, strict=True)))
        if isinstance(items[0], LabelledImages):
            return LabelledImages(*(torch.cat(parts) for parts in zip(*items, strict=True)))
        files, images = zip(*items, strict=True)
        return QueryBatch(list(files), torch.stack(images))

    @property
    def notes(self) -> list[str]:
        """Notes on the number of characters in each split."""
        if "splits" not in self.__dict__:
            return []
        train, val, test = (len(part) for part in self.splits)
        turned = ROTATION_NOTES[self.rotations]
        return [f"{train} characters to learn from, {val} to choose by, {test} tested on; {turned}"]


@final
class ClassImages(Dataset[LabelledImages]):
    """Classes with all their images.

    Args:
        classes: Images ``(n, 1, S, S)`` uint8 of each class.
    """

    def __init__(self, classes: list[Tensor]) -> None:
        self.classes = classes

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def __getitem__(self, number: int) -> LabelledImages:
        """Return a class."""
        images = self.classes[number]
        return LabelledImages(images.float() / 255, torch.full((len(images),), number))


def check_room(characters: list[Character], each: int) -> None:
    """Check that every character has enough images for an episode.

    Raises:
        DataError: If one has too few.
    """
    for character in characters:
        if len(character.images) < each:
            raise DataError(
                f"{character.alphabet}/{character.name} has {len(character.images)} drawings; an episode "
                f"takes {each} (--data.shots and --data.queries)"
            )
