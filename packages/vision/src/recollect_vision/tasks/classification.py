"""The task of classifying images."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, cast, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from recollect import Concatenation, Integration, Memory, Storage
from recollect.memories.examples import ExampleMemory, Reading
from recollect.training import DataModule, Picture, Task
from recollect.training.errors import ArgumentError
from recollect.training.task import Stage
from recollect_vision.data.image_set import ImageSet
from recollect_vision.data.images import ImageBatch, ImageData
from recollect_vision.models.backbone import Backbone, ImageSizes
from recollect_vision.models.classifier import Classified, ImageClassifier
from recollect_vision.models.torchvision_backbone import TorchvisionBackbone
from recollect_vision.optimization import groups_of
from recollect_vision.pictures import ConfusionPicture
from recollect_vision.progressive_resizing import ProgressiveResizing
from recollect_vision.tasks.drawing import neighbour_pictures

AT_ONCE = 256
"""Images whose features are made together."""


@final
class Classification(Task):
    """Which class an image is of, by a network and by the examples that it remembers.

    Training descends the cross-entropy of the network. Before each validation the memory of examples, if
    there is one, is written anew: ``per_class`` training images of each class, as they are without
    augmentation, by the features that the network gives them now.

    Args:
        backbone: Makes the network from the images' size: a ``class_path`` with ``init_args``, or the name of
            one of torchvision's, ``resnet18`` for instance.
        memory: A memory that is learned with the network, such as ``recollect.PrototypeMemory``.
        integration: How it joins: ``recollect.Concatenation``, ``Parallel`` or ``Fusion``.
        at: Name of the part of the network that it joins; the one that makes the features by default.
        storage: Where examples are kept: its keys are features, its values classes. No examples without it.
        reading: How examples are read: see ``ExampleMemory``.
        whiten: Whether they are kept and read by features that vary alike within all classes: see
            ``ClassWhitening``. New classes are told apart better by these.
        per_class: How many examples of each class are remembered, as far as the storage has room.
        share: λ, how much the memory of examples has to say.
        spare: How many new classes there is room for in the memory of examples.
        label_smoothing: ε of Szegedy et al. 2016 (arXiv:1512.00567, section 7).
        resizing: Training begins with smaller images; with whole ones by default.
        named: How many of the examples compared are named by ``predict``, those of most weight.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If an argument is out of range.
    """

    model: ImageClassifier
    model_methods = ("features", "classify")
    prediction_file = "predictions.csv"

    def __init__(
        self,
        backbone: str | Callable[[ImageSizes], Backbone],
        memory: Callable[[int], Memory] | None = None,
        integration: type[Integration] = Concatenation,
        at: str | None = None,
        storage: Callable[[int, int], Storage] | None = None,
        reading: Reading = "matching",
        whiten: bool = False,
        per_class: int = 50,
        share: float = 0.5,
        spare: int = 10,
        label_smoothing: float = 0.0,
        resizing: ProgressiveResizing | None = None,
        named: int = 5,
        optimizer: OptimizerCallable = AdamW,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        for name, value, least in (("per_class", per_class, 1), ("spare", spare, 0), ("named", named, 1)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.backbone = partial(TorchvisionBackbone, name=backbone) if isinstance(backbone, str) else backbone
        self.memory = memory
        self.integration = integration
        self.at = at
        self.storage = storage
        self.reading = reading
        self.whiten = whiten
        self.per_class = per_class
        self.share = share
        self.spare = spare
        self.label_smoothing = label_smoothing
        self.resizing = resizing
        self.named = named
        self.classes: list[str] = []
        self._confusion: Tensor | None = None
        self._shown: ImageSet | None = None

    @property
    def data(self) -> ImageData:
        """The images."""
        return _images(cast(Any, self.trainer).datamodule)

    # --- what the base class asks for -----------------------------------------------------------------------

    def build_model(self, data: DataModule) -> nn.Module:
        """A network for the data's size and classes."""
        data = _images(data)
        backbone, classes = self.backbone(data.sizes), len(data.classes)
        examples = None
        if self.storage is not None:
            storage = self.storage(backbone.feature_size, classes + self.spare)
            # Of prototypes: from 20 to 40 makes no difference to speak of, with 10 new classes are not heard.
            examples = ExampleMemory(storage, self.reading, "cosine", sharpness=20.0)
            slots = storage.entries(storage.initial_state(device="meta")).filled.shape[-1]
            if slots < classes:
                raise ArgumentError(
                    f"--model.storage has {slots} slots for {classes} classes: there must be one for each"
                )
        self.classes = list(data.classes)
        return ImageClassifier(
            backbone, classes, examples, self.share, self.memory, self.integration, self.at, self.whiten
        )

    def build_metrics(self, data: DataModule) -> MetricCollection:
        """Accuracy, macro F1, expected calibration error; the confusion matrix is drawn."""
        classes = len(_images(data).classes) + (self.spare if self.storage else 0)
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "f1": MulticlassF1Score(classes, average="macro"),
                "ece": MulticlassCalibrationError(classes, n_bins=15),
                "confusion": MulticlassConfusionMatrix(classes),
            }
        )

    def training_loss(self, batch: ImageBatch) -> tuple[Tensor, int]:
        """Cross-entropy of what the network says."""
        images = batch.images
        if self.resizing is not None:
            images = self.resizing(images, self.global_step / self.trainer.estimated_stepping_batches)
        loss = F.cross_entropy(self.model(images), batch.label, label_smoothing=self.label_smoothing)
        return loss, len(batch.label)

    def parameter_groups(self) -> Iterable[Any]:
        """Biases of the backbone's normalisation apart, for optimisers that treat them otherwise."""
        return groups_of(self.model, self.model.backbone)

    def evaluate(self, batch: ImageBatch, metrics: MetricCollection) -> Tensor:
        """Classify, and compare with the truth; the loss is the mean of −log p."""
        probability = self.classify(batch).probability
        metrics.update(probability, batch.label)
        right = probability.gather(1, batch.label.unsqueeze(1))
        return -right.clamp_min(torch.finfo(right.dtype).tiny).log().mean()

    def predict(self, batch: ImageBatch) -> list[dict[str, Any]]:
        """One row an image: its class, how probable, and the remembered images it was compared with."""
        found, images = self.classify(batch), cast(ImageSet, self.data.predicted)
        best = found.probability.max(1)
        weight, place = found.weight.topk(min(self.named, found.weight.shape[1]))
        compared = found.number.gather(1, place)
        return [
            {
                "image": images.name(number),
                "class": self.classes[label],
                "probability": round(probability, 4),
                "remembered": [self.name_of(n) for n in numbers],
                "weights": [round(w, 4) for w in weights],
            }
            for number, label, probability, numbers, weights in zip(
                batch.number.tolist(),
                best.indices.tolist(),
                best.values.tolist(),
                compared.tolist(),
                weight.tolist(),
                strict=True,
            )
        ]

    def pictures(self, batch: ImageBatch) -> list[Picture]:
        """The confusion matrix, and some images with the remembered ones that they were compared with."""
        pictures: list[Picture] = []
        if self._confusion is not None:
            pictures.append(ConfusionPicture(self._confusion, self.classes))
        return [*pictures, *neighbour_pictures(self.data, self.classes, batch, self.classify(batch))]

    def summarize(self, stage: Stage, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The figures; the matrix is kept to be drawn."""
        known = len(self.classes)
        self._confusion = values["confusion"][:known, :known].cpu()
        return {name: value for name, value in values.items() if name != "confusion"}

    def on_fit_start(self) -> None:
        """Let the network see as many training images beforehand as it wants to."""
        if self.resizing is not None and not math.isfinite(self.trainer.estimated_stepping_batches):
            raise ArgumentError("--model.resizing needs a training that ends: set --trainer.max_epochs")
        data, count = self.data, self.model.backbone.prepared_with
        if count == 0:
            return
        some = data.numbers["train"][:: max(1, len(data.numbers["train"]) // count)][:count]
        images = data.normalized(torch.stack([data.splits.train.image(number) for number in some]))
        self.model.backbone.prepare(images.to(self.device))

    # --- memory of examples ---------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Write the memory anew: features are what they are now."""
        if self.trainer.state.fn == "fit" and self.model.examples is not None:
            self.model.clear()
            per_class = min(self.per_class, len(self.model.number) // len(self.classes))
            images, numbers = self.data.splits.train, self.data.remembered(per_class)
            features, labels = self.features_of(images, numbers), images.labels[numbers].to(self.device)
            if self.model.whitening is not None:
                self.model.whitening.fit(features, labels)
            self._remember(features, labels, torch.tensor(numbers))

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
        self._remember(self.features_of(images, numbers), labels, torch.tensor(numbers) + first)

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
        for some in torch.arange(len(numbers)).split(AT_ONCE):  # type: ignore[no-untyped-call]
            self.model.remember(features[some], labels[some], numbers[some])

    def _adapt(self) -> None:
        """Examples that are shown are numbered after all training images."""
        shown = self.data.shown()
        if shown is not None:
            names, images = shown
            self.classes += [name for name in names if name not in self.classes]
            if self.model.examples is None or len(self.classes) > self.model.examples.classes:
                raise ArgumentError(
                    f"--data.examples has classes that there is no room for ({len(self.classes)} in all): "
                    "train with --model.storage, and --model.spare as large as the number of new classes"
                )
            labels = torch.tensor([self.classes.index(names[label]) for label in images.labels.tolist()])
            self._shown = images
            self.write(images, list(range(len(images))), labels, first=self.data.trained_on)
        for name in self.data.forget:
            if name not in self.classes:
                raise ArgumentError(
                    f"--data.forget names {name}, but the classes are {', '.join(self.classes)}"
                )
            self.model.forget(self.classes.index(name))

    def name_of(self, number: int) -> str:
        """What a remembered image is called."""
        past = number - self.data.trained_on
        if self._shown is not None and past >= 0:
            return self._shown.name(past)
        return self.data.name_of(number)

    def classify(self, batch: ImageBatch) -> Classified:
        """What is said of a batch."""
        return self.model.classify(self.model.features(batch.images))


def _images(data: DataModule) -> ImageData:
    if not isinstance(data, ImageData):
        raise ArgumentError(
            f"Classification needs labelled images (--data FolderData or another ImageData), not "
            f"{type(data).__name__}"
        )
    return data
