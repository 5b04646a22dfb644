"""Few-shot classification."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MetricCollection

from recollect import SlotStorage
from recollect.memories.example import ExampleMemory, ExampleMethod
from recollect.training import Task
from recollect.training.task import Stage
from recollect.validation import check_positive
from recollect_vision.data.few_shot import FewShotData
from recollect_vision.figures.few_shot import EpisodeFigure, episode_figures
from recollect_vision.metrics.few_shot import (
    FeatureCollector,
    Setting,
    check_draw,
    draw_episodes,
    episode_accuracies,
    group_by_class,
    mean_with_interval,
)
from recollect_vision.models.backbone import Backbone
from recollect_vision.models.few_shot import FewShotClassifier, check_room
from recollect_vision.models.linear_head import LinearHead
from recollect_vision.types import EpisodeBatch, ImageSizes, LabelledImages, QueryBatch

PUBLISHED = ((5, 1), (5, 5), (20, 1), (20, 5))
"""Ways and shots that are usually reported."""


@final
class FewShot(Task[FewShotData]):
    """Few-shot classification: examples of new classes are written to a memory, which the queries read.

    A training step is a batch of episodes. Validation and test compute the feature of each image once and
    draw all episodes from these features. Accuracy is the mean over episodes, ``_ci95`` the half-width of
    its 95 % interval.

    Args:
        backbone: Builds the network that computes features, given the size of the images.
        memory: Builds the storage of the memory, given the widths of keys and values. Without it, a linear
            layer is fitted to the examples of each episode by gradient descent, and the backbone is trained
            as a classifier of the training classes.
        reading: How examples are read: see ``ExampleMemory``.
        similarity: Similarity of queries and prototypes.
        sharpness: Initial sharpness of prototypes; see ``ExampleMemory``.
        learn_sharpness: Whether the sharpness is a parameter.
        head_steps: Gradient steps that fit the linear layer, without a memory.
        head_learning_rate: Learning rate of these steps.
        settings: Pairs of ways and shots to evaluate.
        test_episodes: Test episodes of each setting.
        val_episodes: Validation episodes of each setting.
        test_queries: Queries of each class in validation and test.
        num_explanations: Number of examples that ``predict`` lists for a query, those of largest weight.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If a number is out of range.
    """

    model: FewShotClassifier
    model_methods = ("answer", "loss")
    prediction_file = "predictions.csv"

    def __init__(
        self,
        backbone: Callable[[ImageSizes], Backbone],
        memory: Callable[[int, int], SlotStorage] | None = None,
        reading: ExampleMethod = "prototypes",
        similarity: Literal["euclidean", "cosine"] = "cosine",
        sharpness: float | None = None,
        learn_sharpness: bool = True,
        head_steps: int = 100,
        head_learning_rate: float = 10.0,
        settings: Sequence[tuple[int, int]] = PUBLISHED,
        test_episodes: int = 1000,
        val_episodes: int = 200,
        test_queries: int = 15,
        num_explanations: int = 5,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        check_positive(
            test_episodes=test_episodes,
            val_episodes=val_episodes,
            num_explanations=num_explanations,
            test_queries=test_queries,
        )
        if not settings or any(ways < 2 or shots < 1 for ways, shots in settings):
            raise ValueError(f"settings need two ways and one shot at least, got {list(settings)}")
        self.backbone = backbone
        self.memory = memory
        self.reading: ExampleMethod = reading
        self.similarity: Literal["euclidean", "cosine"] = similarity
        self.sharpness = sharpness
        self.learn_sharpness = learn_sharpness
        self.head_steps = head_steps
        self.head_learning_rate = head_learning_rate
        self.settings = [Setting(*setting) for setting in settings]
        self.test_episodes = test_episodes
        self.val_episodes = val_episodes
        self.test_queries = test_queries
        self.num_explanations = num_explanations
        self._examples: Tensor | None = None

    @property
    def notes(self) -> list[str]:
        """Notes on how accuracy is measured."""
        return [
            f"accuracies are means over {self.test_episodes} episodes with {self.test_queries} queries of "
            "each class (_ci95: half the width of the 95 % interval); no statistics are taken from queries"
        ]

    # --- implementation of the base class -------------------------------------------------------------------

    def build_model(self, data: FewShotData) -> nn.Module:
        """Build a classifier with room for the largest episode."""
        backbone = self.backbone(data.sizes)
        if self.memory is None:
            head = LinearHead(self.head_steps, self.head_learning_rate)
            return FewShotClassifier(backbone, head, data.training_classes)
        episodes = [(data.ways, data.ways * data.shots), *((s.ways, s.ways * s.shots) for s in self.settings)]
        if self.trainer.predicting:
            episodes.append((len(data.examples.names), len(data.examples.labels)))
        classes, examples = (max(numbers) for numbers in zip(*episodes, strict=True))
        storage = self.memory(backbone.feature_size, classes)
        learn = self.learn_sharpness and self.reading == "prototypes"
        memory = ExampleMemory(storage, self.reading, self.similarity, self.sharpness, learn)
        check_room(memory, examples)
        return FewShotClassifier(backbone, memory, data.training_classes)

    def build_metrics(self, data: FewShotData) -> MetricCollection:
        """Build the collector of features, from which ``summarize`` draws the episodes."""
        return MetricCollection({"features": FeatureCollector()})

    def training_loss(self, batch: EpisodeBatch) -> tuple[Tensor, int]:
        """Return the cross-entropy of the queries and the number of classes in the batch."""
        return self.model.loss(batch.images, batch.classes, self.data.shots), batch.classes.numel()

    def evaluate(self, batch: LabelledImages, metrics: MetricCollection) -> None:
        """Collect the features."""
        metrics.update(self.model(batch.images), batch.labels)

    def summarize(self, stage: Stage, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the accuracy of each setting over episodes drawn from the features, and their mean."""
        table = group_by_class(values["features"], values["labels"])
        number = self.test_episodes if stage == "test" else self.val_episodes
        found: dict[str, Tensor] = {}
        for setting in self.settings:
            each = setting.shots + self.test_queries
            batches = draw_episodes(table, setting.ways, each, number, self.data.seed)
            measured = episode_accuracies(self._scores, batches, setting.shots)
            found |= mean_with_interval(f"accuracy_{setting.name}", measured)
        means = [found[f"accuracy_{setting.name}"] for setting in self.settings]
        return {"accuracy": torch.stack(means).mean(), **found}

    def predict(self, batch: QueryBatch) -> list[dict[str, Any]]:
        """Return one row per image: its class, the probability, and the examples with the largest weights."""
        support, features = self.data.examples, self.model(batch.images)
        if self._examples is None:
            self._examples = self.model(support.images.to(self.device))
        read = (self._examples, support.labels.to(self.device), features)
        answer = self.model.answer(*read, classes=len(support.names))
        probability, best = answer.log_probability.exp().max(-1)
        near = nearest(self.model.compare(*read), support.files, self.num_explanations)
        return [
            {
                "image": file,
                "class": support.names[label],
                "probability": round(p, 4),
                "compared": near[number] if near else {},
            }
            for number, (file, label, p) in enumerate(
                zip(batch.files, best.tolist(), probability.tolist(), strict=True)
            )
        ]

    def figures(self, batch: LabelledImages) -> list[EpisodeFigure]:
        """Return figures of episodes of the batch: queries beside the examples they were compared with."""
        return episode_figures(self.model, batch, self.settings, self.data.seed)

    def items(self, batch: Any) -> int:
        """Number of images."""
        return len(batch.images)

    # --- checks before training -----------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Check that validation and test classes suffice for every setting."""
        for setting in self.settings:
            for split in ("val", "test"):
                counts = torch.tensor([len(images) for images in self.data.classes(split)], device="cpu")
                check_draw(counts, setting.ways, setting.shots + self.test_queries)

    # --- shared parts ---------------------------------------------------------------------------------------

    def _scores(self, examples: Tensor, labels: Tensor, queries: Tensor, classes: int) -> Tensor:
        return self.model.answer(examples, labels, queries, classes).log_probability


def nearest(weights: Tensor | None, files: Sequence[str], num_explanations: int) -> list[dict[str, float]]:
    """Return the files with the largest weights for each query, sorted; an empty list without weights.

    Args:
        weights: ``(Q, W)``, weight of each example for each query.
        files: Names of the W examples.
        num_explanations: Largest number of files for a query.

    Example:
        >>> nearest(torch.tensor([[0.25, 0.75, 0.0]]), ["a.png", "b.png", "c.png"], num_explanations=2)
        [{'b.png': 0.75, 'a.png': 0.25}]
    """
    if weights is None:
        return []
    top = weights.topk(min(num_explanations, len(files)), -1)
    return [
        {files[example]: round(weight, 4) for example, weight in zip(indices, values, strict=True)}
        for indices, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
