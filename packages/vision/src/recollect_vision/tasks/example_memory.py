"""The part of a task that keeps examples of the training images, and of others that it is shown."""

from typing import Any, Literal, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim import AdamW

from recollect.training import DataModule, Task
from recollect.training.errors import ArgumentError
from recollect_vision.data.classification import ImageData
from recollect_vision.data.image_set import ImageSet
from recollect_vision.models.classification import ClassifierOutput, ImageClassifier
from recollect_vision.types import ImageBatch

CHUNK_SIZE = 256
"""Images whose features are made together."""


class ExampleMemoryTask(Task):
    """A task whose model remembers examples.

    Before each validation the memory of examples, if there is one, is written anew: ``per_class`` training
    images of each class, as they are without augmentation, by the features that the network gives them now.
    Before test and prediction what the data is asked to show is written, and what it is asked to forget is
    erased.

    Args:
        per_class: How many examples of each class are remembered, as far as the storage has room.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If ``per_class`` is not positive.
    """

    model: ImageClassifier
    model_methods = ("features", "classify")

    def __init__(
        self,
        per_class: int,
        optimizer: OptimizerCallable = AdamW,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        if per_class < 1:
            raise ValueError(f"per_class must be at least 1, got {per_class}")
        self.per_class = per_class
        self.classes: list[str] = []
        self._new_examples: ImageSet | None = None

    @property
    def data(self) -> ImageData:
        """The images."""
        return require_image_data(cast(Any, self.trainer).datamodule)

    def classify(self, batch: ImageBatch) -> ClassifierOutput:
        """What is said of a batch."""
        return self.model.classify(self.model.features(batch.images))

    def image_name(self, number: int) -> str:
        """What a remembered image is called."""
        past = number - self.data.num_training_images
        if self._new_examples is not None and past >= 0:
            return self._new_examples.name(past)
        return self.data.image_name(number)

    def on_validation_epoch_start(self) -> None:
        """Write the memory anew: features are what they are now."""
        if self.trainer.state.fn == "fit" and self.model.examples is not None:
            self.model.clear()
            per_class = min(self.per_class, len(self.model.number) // len(self.classes))
            images, numbers = self.data.splits.train, self.data.example_numbers(per_class)
            features, labels = self.extract_features(images, numbers), images.labels[numbers].to(self.device)
            if self.model.whitening is not None:
                self.model.whitening.fit(features, labels)
            self._write(features, labels, torch.tensor(numbers, device=self.device))

    def on_test_start(self) -> None:
        """Write and erase what was asked for."""
        self._update_memory()

    def on_predict_start(self) -> None:
        """Write and erase what was asked for."""
        self._update_memory()

    @torch.no_grad()
    def write(
        self, images: ImageSet, numbers: list[int], labels: Tensor | None = None, first: int = 0
    ) -> None:
        """Remember images of a set, with its or other ``labels`` ``(N,)``, numbered from ``first`` on."""
        labels = (images.labels if labels is None else labels)[numbers].to(self.device)
        self._write(
            self.extract_features(images, numbers), labels, torch.tensor(numbers, device=self.device) + first
        )

    @torch.no_grad()
    def extract_features(self, images: ImageSet, numbers: list[int]) -> Tensor:
        """``(N, D)`` of images of a set as they are, without augmentation."""
        training = self.training
        self.eval()
        features = [
            self.model.features(
                self.data.normalized(torch.stack([images.image(n) for n in some])).to(self.device)
            )
            for some in (numbers[start : start + CHUNK_SIZE] for start in range(0, len(numbers), CHUNK_SIZE))
        ]
        self.train(training)
        return torch.cat(features)

    def _write(self, features: Tensor, labels: Tensor, numbers: Tensor) -> None:
        for start in range(0, len(numbers), CHUNK_SIZE):
            some = slice(start, start + CHUNK_SIZE)
            self.model.remember(features[some], labels[some], numbers[some])

    def _update_memory(self) -> None:
        """Examples that are shown are numbered after all training images."""
        shown = self.data.new_examples()
        if shown is not None:
            names, images = shown
            self.classes += [name for name in names if name not in self.classes]
            if self.model.examples is None or len(self.classes) > self.model.examples.num_classes:
                raise ArgumentError(
                    f"--data.examples has classes that there is no room for ({len(self.classes)} in all): "
                    "train with --model.storage and set --model.extra_classes to the number of new classes"
                )
            own = [self.classes.index(names[label]) for label in images.labels.tolist()]
            labels = torch.tensor(own, device=self.device)
            self._new_examples = images
            self.write(images, list(range(len(images))), labels, first=self.data.num_training_images)
        for name in self.data.forget:
            if name not in self.classes:
                raise ArgumentError(
                    f"--data.forget names {name}, but the classes are {', '.join(self.classes)}"
                )
            self.model.forget(self.classes.index(name))


def require_image_data(data: DataModule) -> ImageData:
    """``data``, checked to be labelled images."""
    if not isinstance(data, ImageData):
        raise ArgumentError(
            f"Classification needs labelled images (--data FolderData or another ImageData), not "
            f"{type(data).__name__}"
        )
    return data
