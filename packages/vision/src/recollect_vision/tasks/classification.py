"""Image classification."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, cast, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from recollect import Concatenation, Integration, Memory, SlotStorage
from recollect.memories.example import ExampleMemory, ExampleMethod
from recollect.storages import capacity
from recollect.training import NamedFigure
from recollect.training.errors import ArgumentError
from recollect.training.task import Stage
from recollect_vision.data.classification import ImageData
from recollect_vision.data.image_set import ImageSet
from recollect_vision.figures.classification import ConfusionFigure, neighbour_figures
from recollect_vision.metrics.classification import BINS, negative_log_likelihood
from recollect_vision.models.backbone import Backbone
from recollect_vision.models.classification import NO_EXAMPLE, ClassifierOutput, ImageClassifier
from recollect_vision.models.torchvision_backbone import TorchvisionBackbone
from recollect_vision.tasks.example_memory import ExampleMemoryTask
from recollect_vision.tasks.optimization import group_biases
from recollect_vision.tasks.progressive_resizing import ProgressiveResizing
from recollect_vision.types import ImageBatch, ImageSizes


@final
class Classification(ExampleMemoryTask):
    """Image classification by a network and a memory of examples: see ``ExampleMemoryTask``.

    Training minimises the cross-entropy of the network alone.

    Args:
        backbone: Builds the network for the size of the images: a ``class_path`` with ``init_args``, or the
            name of a torchvision network, for example ``resnet18``.
        memory: Builds a memory that is trained with the network, for example ``recollect.PrototypeMemory``.
        integration: Integration of that memory: ``recollect.Concatenation``, ``Parallel`` or ``Fusion``.
        at: Name of the module that the memory augments; the one that computes the features by default.
        example_memory: Builds the storage of a memory of examples, given the widths of keys (features) and
            values (classes).
        reading: How examples are read: see ``ExampleMemory``.
        whiten: Whether to whiten the features that are written and read: see ``ClassWhitening``. It improves
            accuracy on new classes.
        per_class: Examples of each class in memory, as far as the storage has room.
        mix_weight: Weight λ of the memory of examples in the prediction.
        extra_classes: Number of new classes that the memory of examples has room for.
        label_smoothing: ε of Szegedy et al. 2016 (arXiv:1512.00567, section 7).
        resizing: Schedule of the size of training images; full size throughout by default.
        num_explanations: Number of examples that ``predict`` lists for an image, those of largest weight.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If an argument is out of range.
    """

    prediction_file = "predictions.csv"

    def __init__(
        self,
        backbone: str | Callable[[ImageSizes], Backbone],
        memory: Callable[[int], Memory] | None = None,
        integration: type[Integration] = Concatenation,
        at: str | None = None,
        example_memory: Callable[[int, int], SlotStorage] | None = None,
        reading: ExampleMethod = "matching",
        whiten: bool = False,
        per_class: int = 50,
        mix_weight: float = 0.5,
        extra_classes: int = 10,
        label_smoothing: float = 0.0,
        resizing: ProgressiveResizing | None = None,
        num_explanations: int = 5,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(per_class, optimizer, scheduler, scheduler_interval)
        for name, value, least in (
            ("extra_classes", extra_classes, 0),
            ("num_explanations", num_explanations, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.backbone = partial(TorchvisionBackbone, name=backbone) if isinstance(backbone, str) else backbone
        self.memory = memory
        self.integration = integration
        self.at = at
        self.example_memory = example_memory
        self.reading = reading
        self.whiten = whiten
        self.mix_weight = mix_weight
        self.extra_classes = extra_classes
        self.label_smoothing = label_smoothing
        self.resizing = resizing
        self.num_explanations = num_explanations
        self._confusion: Tensor | None = None

    # --- implementation of the base class -------------------------------------------------------------------

    def build_model(self, data: ImageData) -> nn.Module:
        """Build a network for the size and classes of the data."""
        backbone, classes = self.backbone(data.sizes), len(data.classes)
        examples = None
        if self.example_memory is not None:
            storage = self.example_memory(backbone.feature_size, classes + self.extra_classes)
            # Prototypes: sharpness 20 to 40 gives the same accuracy; with 10 new classes are never predicted.
            examples = ExampleMemory(storage, self.reading, "cosine", sharpness=20.0)
            slots = capacity(storage)
            if slots is not None and slots < classes:
                raise ArgumentError(
                    f"--model.example_memory has {slots} slots for {classes} classes: there must be one for "
                    "each"
                )
        self.classes = list(data.classes)
        return ImageClassifier(
            backbone, classes, examples, self.mix_weight, self.memory, self.integration, self.at, self.whiten
        )

    def build_metrics(self, data: ImageData) -> MetricCollection:
        """Build accuracy, macro F1, expected calibration error, and the confusion matrix."""
        classes = len(data.classes) + (self.extra_classes if self.example_memory else 0)
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "f1": MulticlassF1Score(classes, average="macro"),
                "ece": MulticlassCalibrationError(classes, n_bins=BINS),
                "confusion": MulticlassConfusionMatrix(classes),
            }
        )

    def training_loss(self, batch: ImageBatch) -> tuple[Tensor, int]:
        """Return the cross-entropy of the network and the number of images."""
        images = batch.images
        if self.resizing is not None:
            images = self.resizing(images, self.global_step / self.trainer.estimated_stepping_batches)
        loss = F.cross_entropy(self.model(images), batch.label, label_smoothing=self.label_smoothing)
        return loss, len(batch.label)

    def parameter_groups(self) -> Iterable[Any]:
        """Return parameter groups, the biases of the backbone's batch normalisation apart."""
        return group_biases(self.model, self.model.backbone)

    def evaluate(self, batch: ImageBatch, metrics: MetricCollection) -> Tensor:
        """Update the metrics and return the mean −log p of the true classes."""
        probability = self.classify(batch).probability
        metrics.update(probability, batch.label)
        return negative_log_likelihood(probability, batch.label)

    def predict(self, batch: ImageBatch) -> list[dict[str, Any]]:
        """Return one row per image: its class, the probability, and the examples with the largest weights."""
        found, images = self.classify(batch), cast(ImageSet, self.data.predicted)
        best = found.probability.max(1)
        return [
            {
                "image": images.name(number),
                "class": self.classes[label],
                "probability": round(probability, 4),
                **self.explanations(found, i),
            }
            for i, (number, label, probability) in enumerate(
                zip(batch.number.tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
            )
        ]

    def explanations(self, found: ClassifierOutput, i: int) -> dict[str, list[Any]]:
        """Return names and weights of the examples that image ``i`` of a batch was compared with."""
        filled = (found.number[i] != NO_EXAMPLE).nonzero().squeeze(1)
        best = found.weight[i, filled].topk(min(self.num_explanations, len(filled)))
        return {
            "remembered": [self.image_name(n) for n in found.number[i, filled[best.indices]].tolist()],
            "weights": [round(weight, 4) for weight in best.values.tolist()],
        }

    def figures(self, batch: ImageBatch) -> list[NamedFigure]:
        """Return the confusion matrix, and the least certain images beside their nearest examples."""
        figures: list[NamedFigure] = []
        if self._confusion is not None:
            figures.append(ConfusionFigure(self._confusion, self.classes))
        return [*figures, *neighbour_figures(self.data, self.classes, batch, self.classify(batch))]

    def summarize(self, stage: Stage, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the metrics without the confusion matrix, which is stored for the picture."""
        count = len(self.classes)
        self._confusion = values["confusion"][:count, :count].cpu()
        return {name: value for name, value in values.items() if name != "confusion"}

    def on_fit_start(self) -> None:
        """Prepare the backbone with as many training images as it asks for."""
        if self.resizing is not None and not math.isfinite(self.trainer.estimated_stepping_batches):
            raise ArgumentError("--model.resizing needs a training that ends: set --trainer.max_epochs")
        data, count = self.data, self.model.backbone.num_prepare_images
        if count == 0:
            return
        numbers = data.numbers["train"]
        chosen = numbers[:: max(1, len(numbers) // count)][:count]
        images = data.normalized(torch.stack([data.splits.train.image(number) for number in chosen]))
        with self.preparing():
            self.model.backbone.prepare(images.to(self.device))
