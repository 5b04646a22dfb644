"""The part of a task that keeps examples of the training images, and of others that it is shown."""

from typing import Any, Literal, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim import AdamW

from recollect.training import DataModule, Task
from recollect.training.errors import ArgumentError
from recollect_vision.data.image_set import ImageSet
from recollect_vision.data.images import ImageBatch, ImageData
from recollect_vision.models.classifier import Classified, ImageClassifier

AT_ONCE = 256
"""Images whose features are made together."""


class Remembering(Task):
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
        self._shown: ImageSet | None = None

    @property
    def data(self) -> ImageData:
        """The images."""
        return labelled(cast(Any, self.trainer).datamodule)

    def classify(self, batch: ImageBatch) -> Classified:
        """What is said of a batch."""
        return self.model.classify(self.model.features(batch.images))

    def name_of(self, number: int) -> str:
        """What a remembered image is called."""
        past = number - self.data.trained_on
        if self._shown is not None and past >= 0:
            return self._shown.name(past)
        return self.data.name_of(number)

    def on_validation_epoch_start(self) -> None:
        """Write the memory anew: features are what they are now."""
        if self.trainer.state.fn == "fit" and self.model.examples is not None:
            self.model.clear()
            per_class = min(self.per_class, len(self.model.number) // len(self.classes))
            images, numbers = self.data.splits.train, self.data.remembered(per_class)
            features, labels = self.features_of(images, numbers), images.labels[numbers].to(self.device)
            if self.model.whitening is not None:
                self.model.whitening.fit(features, labels)
            self._remember(features, labels, torch.tensor(numbers, device=self.device))

    def on_test_start(self) -> None:
        """Write and erase what was asked for."""
        self._adapt()

    def on_predict_start(self) -> None:
        """Write and erase what was asked for."""
        self._adapt()

    @torch.no_grad()
    def write(
        self, images: ImageSet, numbers: list[int], labels: Tensor | None = None, first: int = 0
    ) -> None:
        """Remember images of a set, with its or other ``labels`` ``(N,)``, numbered from ``first`` on."""
        labels = (images.labels if labels is None else labels)[numbers].to(self.device)
        self._remember(
            self.features_of(images, numbers), labels, torch.tensor(numbers, device=self.device) + first
        )

    @torch.no_grad()
    def features_of(self, images: ImageSet, numbers: list[int]) -> Tensor:
        """``(N, D)`` of images of a set as they are, without augmentation."""
        training = self.training
        self.eval()
        features = [
            self.model.features(
                self.data.normalized(torch.stack([images.image(n) for n in some])).to(self.device)
            )
            for some in (numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE))
        ]
        self.train(training)
        return torch.cat(features)

    def _remember(self, features: Tensor, labels: Tensor, numbers: Tensor) -> None:
        for start in range(0, len(numbers), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            self.model.remember(features[some], labels[some], numbers[some])

    def _adapt(self) -> None:
        """Examples that are shown are numbered after all training images."""
        shown = self.data.shown()
        if shown is not None:
            names, images = shown
            self.classes += [name for name in names if name not in self.classes]
            if self.model.examples is None or len(self.classes) > self.model.examples.num_classes:
                raise ArgumentError(
                    f"--data.examples has classes that there is no room for ({len(self.classes)} in all): "
                    "train with --model.storage, and --model.spare as large as the number of new classes"
                )
            own = [self.classes.index(names[label]) for label in images.labels.tolist()]
            labels = torch.tensor(own, device=self.device)
            self._shown = images
            self.write(images, list(range(len(images))), labels, first=self.data.trained_on)
        for name in self.data.forget:
            if name not in self.classes:
                raise ArgumentError(
                    f"--data.forget names {name}, but the classes are {', '.join(self.classes)}"
                )
            self.model.forget(self.classes.index(name))


def labelled(data: DataModule) -> ImageData:
    """``data``, checked to be labelled images."""
    if not isinstance(data, ImageData):
        raise ArgumentError(
            f"Classification needs labelled images (--data FolderData or another ImageData), not "
            f"{type(data).__name__}"
        )
    return data
