"""Base of tasks whose model has a memory of examples."""

from typing import Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from recollect.training import Task
from recollect.training.errors import ArgumentError
from recollect_vision.data.classification import ImageData
from recollect_vision.data.image_set import ImageSet
from recollect_vision.models.classification import ClassifierOutput, ImageClassifier
from recollect_vision.types import ImageBatch

CHUNK_SIZE = 256
"""Images whose features are computed together."""


class ExampleMemoryTask(Task[ImageData]):
    """A task whose model has a memory of examples.

    Before each validation during training the memory is cleared and rewritten with ``per_class`` training
    images of each class, without augmentation, so that the keys are features of the current network. Before
    test and prediction the examples in ``data.examples`` are written and the classes in ``data.forget`` are
    erased.

    Args:
        per_class: Examples of each class in memory, as far as the storage has room.
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
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        if per_class < 1:
            raise ValueError(f"per_class must be at least 1, got {per_class}")
        self.per_class = per_class
        self.classes: list[str] = []
        self._new_examples: ImageSet | None = None

    def classify(self, batch: ImageBatch) -> ClassifierOutput:
        """Classify a batch."""
        return self.model.classify(self.model.features(batch.images))

    def image_name(self, number: int) -> str:
        """Return the name of an example."""
        index = number - self.data.num_training_images  # new examples are numbered after the training set
        if self._new_examples is not None and index >= 0:
            return self._new_examples.name(index)
        return self.data.image_name(number)

    def on_validation_epoch_start(self) -> None:
        """Rewrite the memory with features of the current network."""
        if self.trainer.state.fn == "fit" and self.model.examples is not None:
            self.model.clear()
            per_class = min(self.per_class, len(self.model.number) // len(self.classes))
            images, numbers = self.data.splits.train, self.data.example_numbers(per_class)
            features, labels = self.extract_features(images, numbers), images.labels[numbers].to(self.device)
            if self.model.whitening is not None:
                self.model.whitening.fit(features, labels)
            self._write(features, labels, torch.tensor(numbers, device=self.device))

    def on_test_start(self) -> None:
        """Write new examples and erase forgotten classes."""
        self._update_memory()

    def on_predict_start(self) -> None:
        """Write new examples and erase forgotten classes."""
        self._update_memory()

    @torch.no_grad()
    def write(
        self, images: ImageSet, numbers: list[int], labels: Tensor | None = None, first: int = 0
    ) -> None:
        """Write images of a set to memory.

        Args:
            images: The set.
            numbers: Which images of the set.
            labels: ``(N,)`` int64, labels of all images of the set; its own by default.
            first: Added to the numbers that the memory stores.
        """
        labels = (images.labels if labels is None else labels)[numbers].to(self.device)
        self._write(
            self.extract_features(images, numbers), labels, torch.tensor(numbers, device=self.device) + first
        )

    @torch.no_grad()
    def extract_features(self, images: ImageSet, numbers: list[int]) -> Tensor:
        """Compute features ``(N, D)`` of images of a set, without augmentation."""
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
        """Write ``data.examples``, numbered after all training images, and erase ``data.forget``."""
        new = self.data.new_examples()
        if new is not None:
            names, images = new
            self.classes += [name for name in names if name not in self.classes]
            if self.model.examples is None or len(self.classes) > self.model.examples.num_classes:
                raise ArgumentError(
                    "--data.examples has more classes than the memory has room for "
                    f"({len(self.classes)} in all): "
                    "train with --model.example_memory and set --model.extra_classes to the number of new "
                    "classes"
                )
            indices = [self.classes.index(names[label]) for label in images.labels.tolist()]
            labels = torch.tensor(indices, device=self.device)
            self._new_examples = images
            self.write(images, list(range(len(images))), labels, first=self.data.num_training_images)
        for name in self.data.forget:
            if name not in self.classes:
                raise ArgumentError(
                    f"--data.forget names {name}, but the classes are {', '.join(self.classes)}"
                )
            self.model.forget(self.classes.index(name))
