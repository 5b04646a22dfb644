"""The base of data for few-shot learning: characters that are learnt from, and others to be tested on."""

from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect.training import DataError, DataModule, Split
from recollect.training.errors import ArgumentError
from recollect_vision.data.character_splits import CharacterSplits
from recollect_vision.data.characters import Character
from recollect_vision.data.episodes import Episodes
from recollect_vision.data.support_set import QueryImages, SupportSet, read_support_set
from recollect_vision.types import EpisodeBatch, ImageSizes, LabelledImages, QueryBatch

ROTATIONS = 4
"""Turns by a right angle, none included."""

ROTATION_NOTES = {
    "everywhere": "turned by 90°, 180° and 270° they are classes of their own in every part",
    "training": "turned by 90°, 180° and 270° they are classes of their own in training only",
    "nowhere": "all upright",
}
"""What is said of ``rotations`` beside results."""


class FewShotData(DataModule):
    """Episodes of some characters to learn from; of others every image, once, to draw test episodes from.

    Episode i of an epoch depends on seed, epoch and i alone. In validation and test an item is a class with
    all its images: a network that looks at each image by itself need do so once, however many episodes are
    then drawn. In prediction ``images`` are to be classified by ``examples``.

    Args:
        rotations: Where a character turned by 90°, 180° and 270° counts as three more classes.
        size: Height and width S of an image.
        ways: Number N of classes in a training episode.
        shots: Labelled examples of each class in a training episode.
        queries: Further images of each class in a training episode.
        episodes: Training episodes in an epoch.
        batch_size: Training episodes in a batch.
        classes_at_once: Classes in a batch of validation and test; images in a batch of prediction, too.
        augmentation: Strength of the random affine maps of training images; 0 for none.
        examples: Prediction: folder with labelled examples, ``<class>/*.png``.
        images: Prediction: folder of images to classify, or one image.
        num_workers: As in ``DataModule``.
        seed: Of the episodes.

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
        numbers = {"size": size, "shots": shots, "queries": queries, "episodes": episodes}
        for name, number in (numbers | {"classes_at_once": classes_at_once}).items():
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
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

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> CharacterSplits:
        """All characters, parted."""

    # --- what callers use -----------------------------------------------------------------------------------

    @property
    def sizes(self) -> ImageSizes:
        """Of the images, which are grey."""
        return ImageSizes(1, self.size, self.size)

    @cached_property
    def splits(self) -> CharacterSplits:
        """The characters, read once."""
        return self.read()

    @cached_property
    def examples(self) -> SupportSet:
        """The labelled examples for prediction, read once."""
        if self.examples_folder is None:
            raise ArgumentError("prediction needs --data.examples, a folder with examples: <class>/*.png")
        return read_support_set(self.examples_folder, self.size)

    @property
    def training_classes(self) -> int:
        """How many classes are learnt from."""
        return int(self.learnt["classes"])

    def classes(self, split: Literal["train", "val", "test"]) -> list[Tensor]:
        """For each class of a split its images ``(n, 1, S, S)`` uint8; turned ones come last."""
        upright = [character.images for character in getattr(self.splits, split)]
        if self.rotations == "nowhere" or (self.rotations == "training" and split != "train"):
            return upright
        return [images.rot90(turn, (-2, -1)) for turn in range(ROTATIONS) for images in upright]

    # --- what the base class asks for -----------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """How many classes there are to learn from: no network needs to know more."""
        return {"classes": len(self.classes("train"))}

    def dataset(self, split: Split) -> Dataset[Any]:
        """Episodes, classes, or images to classify."""
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
        """Episodes whose images are augmented, and images that are decoded when it is their turn."""
        return (split == "train" and self.augmentation > 0) or split == "predict"

    def batches(self, split: Split, dataset: Any, epoch: int) -> list[list[int]]:
        """Training episodes are numbered on from epoch to epoch; everything else is in order."""
        if split == "train":
            first, size = epoch * len(dataset), self.batch_size
        else:
            first, size = 0, self.classes_at_once
        numbers = range(first, first + len(dataset))
        return [list(numbers[start : start + size]) for start in range(0, len(dataset), size)]

    def collate(self, items: list[Any]) -> EpisodeBatch | LabelledImages | QueryBatch:
        """Episodes side by side; classes and questions one after the other."""
        if isinstance(items[0], EpisodeBatch):
            return EpisodeBatch(*(torch.stack(parts) for parts in zip(*items, strict=True)))
        if isinstance(items[0], LabelledImages):
            return LabelledImages(*(torch.cat(parts) for parts in zip(*items, strict=True)))
        files, images = zip(*items, strict=True)
        return QueryBatch(list(files), torch.stack(images))

    @property
    def notes(self) -> list[str]:
        """How many characters are learnt from, choose, and are tested on."""
        if "splits" not in self.__dict__:
            return []
        train, val, test = (len(part) for part in self.splits)
        turned = ROTATION_NOTES[self.rotations]
        return [f"{train} characters to learn from, {val} to choose by, {test} tested on; {turned}"]


@final
class ClassImages(Dataset[LabelledImages]):
    """Classes with all their images.

    Args:
        classes: For each class its images ``(n, 1, S, S)`` uint8.
    """

    def __init__(self, classes: list[Tensor]) -> None:
        self.classes = classes

    def __len__(self) -> int:
        """How many classes."""
        return len(self.classes)

    def __getitem__(self, number: int) -> LabelledImages:
        """One class."""
        images = self.classes[number]
        return LabelledImages(images.float() / 255, torch.full((len(images),), number))


def check_room(characters: list[Character], each: int) -> None:
    """Every character has images enough for an episode.

    Raises:
        DataError: If one has not.
    """
    for character in characters:
        if len(character.images) < each:
            raise DataError(
                f"{character.alphabet}/{character.name} has {len(character.images)} drawings; an episode "
                f"takes {each} (--data.shots and --data.queries)"
            )
