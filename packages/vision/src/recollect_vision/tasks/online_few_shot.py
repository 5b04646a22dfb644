"""Online few-shot classification: images are presented one at a time, labels one step late."""

from collections.abc import Callable
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MetricCollection

from recollect import Storage
from recollect.training import Task
from recollect.training.errors import ArgumentError
from recollect.training.task import Stage
from recollect.validation import check_positive
from recollect_vision.data.episodes import episode_generator
from recollect_vision.data.few_shot import FewShotData
from recollect_vision.metrics.few_shot import (
    FeatureCollector,
    draw_episodes,
    group_by_class,
    mean_with_interval,
)
from recollect_vision.models.backbone import Backbone
from recollect_vision.models.online_few_shot import (
    OnlineClassifier,
    OnlineLearner,
    presentation_count,
    shift_labels,
)
from recollect_vision.types import EpisodeBatch, ImageSizes, LabelledImages, QueryBatch


@final
class OnlineFewShot(Task[FewShotData]):
    """Classify images of new classes one by one; the label of each arrives with the next image.

    An episode presents ``shots + queries`` images of each class in random order. Labels are assigned to the
    classes at random in every episode. Accuracy is reported by presentation: how many times the
    class has been presented, this time included. The first presentation can only be guessed.

    Args:
        backbone: Builds the network that computes features, given the size of the images.
        memory: Builds the storage of the memory, given the widths of keys and values.
        key_size: Width K of the keys.
        hidden_size: Width D of the controller, an LSTM.
        test_episodes: Number of test episodes.
        val_episodes: Number of validation episodes.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If a number is out of range.
    """

    model: OnlineClassifier
    prediction_file = "predictions.csv"

    def __init__(
        self,
        backbone: Callable[[ImageSizes], Backbone],
        memory: Callable[[int, int], Storage] | None = None,
        key_size: int = 40,
        hidden_size: int = 200,
        test_episodes: int = 1000,
        val_episodes: int = 200,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        check_positive(
            key_size=key_size, hidden_size=hidden_size, val_episodes=val_episodes, test_episodes=test_episodes
        )
        self.backbone = backbone
        self.memory = memory
        self.key_size = key_size
        self.hidden_size = hidden_size
        self.test_episodes = test_episodes
        self.val_episodes = val_episodes

    @property
    def notes(self) -> list[str]:
        """Notes on how accuracy is measured."""
        data = self.data
        return [
            f"accuracies by presentation over {self.test_episodes} episodes of {data.ways} classes, "
            f"{data.shots + data.queries} images each, labels a step late; _ci95: half the width of the 95 % "
            "interval"
        ]

    # --- implementation of the base class -------------------------------------------------------------------

    def build_model(self, data: FewShotData) -> nn.Module:
        """Build a backbone and a learner with one label per class of an episode."""
        backbone = self.backbone(data.sizes)
        storage = None if self.memory is None else self.memory(self.key_size, data.ways)
        learner = OnlineLearner(backbone.feature_size, data.ways, self.hidden_size, storage)
        return OnlineClassifier(backbone, learner)

    def build_metrics(self, data: FewShotData) -> MetricCollection:
        """Build the collector of features, from which ``summarize`` draws the episodes."""
        return MetricCollection({"features": FeatureCollector()})

    def training_loss(self, batch: EpisodeBatch) -> tuple[Tensor, int]:
        """Return the cross-entropy of all labels and the number of episodes."""
        features = self.model(batch.images.flatten(0, 2)).view(*batch.images.shape[:3], -1)
        logits, labels = self._answer(features, batch.order)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten()), len(labels)

    def evaluate(self, batch: LabelledImages, metrics: MetricCollection) -> None:
        """Collect the features."""
        metrics.update(self.model(batch.images), batch.labels)

    def summarize(self, stage: Stage, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the accuracy by presentation over episodes drawn from the features."""
        table = group_by_class(values["features"], values["labels"])
        number = self.test_episodes if stage == "test" else self.val_episodes
        data, right = self.data, []
        each = data.shots + data.queries
        for features, order in draw_episodes(table, data.ways, each, number, data.seed):
            logits, labels = self._answer(features, order)
            correct = (logits.argmax(-1) == labels).float()
            by_turn = F.one_hot(presentation_count(labels) - 1, each) * correct.unsqueeze(-1)
            right.append(by_turn.sum(1) / data.ways)  # each class has one k-th presentation
        found: dict[str, Tensor] = {}
        for turn, values_of_turn in enumerate(torch.cat(right).unbind(1), 1):
            found |= mean_with_interval(f"accuracy_presentation_{turn}", values_of_turn)
        return found

    def predict(self, batch: QueryBatch) -> list[dict[str, Any]]:
        """Return one row per image: its class and the probability, if presented after all examples."""
        support = self.data.examples
        if len(support.names) > self.data.ways:
            raise ArgumentError(
                f"the examples are of {len(support.names)} classes, but the model knows {self.data.ways}"
            )
        generator = episode_generator(self.data.seed, 0)
        order = torch.randperm(len(support.labels), generator=generator, device="cpu")
        examples, labels = support.images[order].to(self.device), support.labels[order].to(self.device)
        _, state = self.model.learner(self.model(examples).unsqueeze(0), shift_labels(labels.unsqueeze(0)))
        logits = self.model.learner.predict_next(state, self.model(batch.images), labels[-1:])
        # Only labels that an example has can be predicted.
        probability, best = logits[:, : len(support.names)].softmax(-1).max(-1)
        return [
            {"image": file, "class": support.names[label], "probability": round(p, 4)}
            for file, label, p in zip(batch.files, best.tolist(), probability.tolist(), strict=True)
        ]

    def items(self, batch: Any) -> int:
        """Number of images."""
        return len(batch.images)

    # --- shared parts ---------------------------------------------------------------------------------------

    def _answer(self, features: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(E, T, N)`` and labels ``(E, T)`` of episodes ``(E, N, n, D)`` in ``order``."""
        labels = order // features.shape[2]
        sequence = torch.take_along_dim(features.flatten(1, 2), order.unsqueeze(-1), 1)
        logits, _ = self.model.learner(sequence, shift_labels(labels))
        return logits, labels
