"""Sequential recommendation."""

from collections.abc import Callable
from typing import Any, Literal, cast, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam
from torchmetrics import MetricCollection

from recollect import Concatenation, Integration, Memory
from recollect.storages import capacity
from recollect.training import NamedFigure, Task
from recollect.training.errors import ArgumentError
from recollect.training.task import Stage
from recollect.validation import check_positive
from recollect_recsys.data.sequential import SequentialData
from recollect_recsys.figures.sequential import measured_figures, memory_figures
from recollect_recsys.metrics.ranking import chunks, mask_seen, rank_targets, top_items
from recollect_recsys.metrics.sequential import TOP_K, NextItemMetrics
from recollect_recsys.models.backbone import Backbone
from recollect_recsys.models.sequential import Attribution, SessionRecommender
from recollect_recsys.types import SessionBatch


@final
class NextItem(Task[SequentialData]):
    """Predict a user's next item out of the whole catalogue.

    Training predicts every item of every training history from those before it, by cross-entropy. Validation
    and test rank one target per user among all unseen items.

    Args:
        backbone: Turns the items of a session into states.
        memory: Builds the memory of each user's items, given the backbone's width.
        integration: How it joins the backbone: ``recollect.Concatenation``, ``Parallel`` or ``Fusion``.
        item_memory: Builds a memory that all users share, such as ``recollect.PrototypeMemory``.
        item_integration: How it joins the output of the backbone and the user's memory.
        negatives: Items that the softmax of the loss is estimated from; all items by default.
        top: Length of the lists that ``predict`` writes.
        num_explanations: How many of the items read are named with each list, those of most weight.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If a number is not positive.
    """

    model: SessionRecommender
    model_methods = ("scores", "loss", "last_state")
    default_optimizer = Adam

    def __init__(
        self,
        backbone: Backbone,
        memory: Callable[[int], Memory] | None = None,
        integration: type[Integration] = Concatenation,
        item_memory: Callable[[int], Memory] | None = None,
        item_integration: type[Integration] = Concatenation,
        negatives: int | None = None,
        top: int = 10,
        num_explanations: int = 5,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        check_positive(negatives=negatives, top=top, num_explanations=num_explanations)
        self.backbone = backbone
        self.memory = memory
        self.integration = integration
        self.item_memory = item_memory
        self.item_integration = item_integration
        self.negatives = negatives
        self.top = top
        self.num_explanations = num_explanations
        self._figures: list[NamedFigure] = []

    # --- overrides ------------------------------------------------------------------------------------------

    def build_model(self, data: SequentialData) -> nn.Module:
        """Build a recommender for the data's catalogue."""
        if self.backbone.steps is not None and data.window > self.backbone.steps:
            raise ArgumentError(
                f"--data.window {data.window} is more than the {self.backbone.steps} steps of "
                f"{type(self.backbone).__name__}: set --model.backbone.init_args.steps to {data.window}"
            )
        memory, item_memory = (
            None if make is None else make(self.backbone.size) for make in (self.memory, self.item_memory)
        )
        fit_past(data, memory)
        return SessionRecommender(
            len(data.items),
            self.backbone,
            memory,
            self.integration,
            item_memory,
            self.item_integration,
        )

    def build_metrics(self, data: SequentialData) -> MetricCollection:
        """NDCG, hit rate, reciprocal rank, recall and coverage."""
        return MetricCollection({"next_item": NextItemMetrics(len(data.items))})

    def training_loss(self, batch: SessionBatch) -> tuple[Tensor, int]:
        """Cross-entropy of every item of the sessions."""
        loss = self.model.loss(self.model(batch), batch.target, batch.seen, self.negatives)
        return loss, int((batch.target > 0).sum())

    def evaluate(self, batch: SessionBatch, metrics: MetricCollection) -> Tensor:
        """Rank the last target of each session."""
        target = batch.target.gather(1, (batch.length - 1).unsqueeze(1))
        rows = torch.arange(len(batch.length), device=self.device)
        states = self.model(batch)[rows, batch.length - 1]
        seen = batch.seen[:, :0] if self.data.repeats else batch.seen
        ranks, lists = rank_targets(states, target.squeeze(1), seen, self.model.scores, TOP_K)
        metrics["next_item"].update(ranks, lists, (batch.seen > 0).sum(1))
        return self.model.loss(states.unsqueeze(1), target, seen)

    def predict(self, batch: SessionBatch) -> list[dict[str, Any]]:
        """One row a user: the best items with their scores, and what was read of the user's memory.

        ``read`` is null without a memory, and where the memory does not keep the items apart.
        """
        states, attribution = self.model.last_state(batch)
        names, users = self.data.items, self.data.histories.users
        read = (
            [None] * len(states)
            if attribution is None
            else name_attributions(batch, attribution, names, self.num_explanations)
        )
        seen = batch.seen[:, :0] if self.data.repeats else batch.seen
        rows: list[dict[str, Any]] = []
        for now in chunks(len(states), len(names)):
            lists = top_items(mask_seen(self.model.scores(states[now]), seen[now]), self.top)
            for user, items, scores in zip(batch.user[now].tolist(), *map(Tensor.tolist, lists), strict=True):
                best = [(names[item - 1], score) for item, score in zip(items, scores, strict=True) if item]
                rows.append(
                    {
                        "user": users[user],
                        "items": [name for name, _ in best],
                        "scores": [round(score, 4) for _, score in best],
                        "read": read[len(rows)],
                    }
                )
        return rows

    def figures(self, batch: SessionBatch) -> list[NamedFigure]:
        """What was measured by length of history, what is recommended, what is remembered and read."""
        if self.model.memory is None:
            return self._figures
        drawn = memory_figures(
            self.model,
            batch,
            self.data.items,
            self.data.histories.users,
            capacity(self.model.memory.storage) or 0,
        )
        return [*self._figures, *drawn]

    def summarize(self, stage: Stage, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The figures as they are; what is drawn of them is kept."""
        metrics = cast(NextItemMetrics, self.stage_metrics(stage)["next_item"])
        self._figures = measured_figures(metrics, self.data.popularity)
        return values


def name_attributions(
    batch: SessionBatch, attribution: Attribution, names: list[str], count: int
) -> list[list[dict[str, Any]] | None]:
    """For each user the ``count`` items that were read with most weight, by name."""
    given = torch.cat([batch.past, batch.session], 1).tolist()
    told: list[list[dict[str, Any]] | None] = []
    for items, numbers, weights in zip(
        given, attribution.numbers.tolist(), attribution.weights.tolist(), strict=True
    ):
        items = [item for item in items if item]
        total: dict[int, float] = {}
        for number, weight in zip(numbers, weights, strict=True):
            if number >= 0:
                total[items[number]] = total.get(items[number], 0.0) + weight
        best = sorted(total.items(), key=lambda entry: -entry[1])[:count]
        told.append([{"item": names[item - 1], "weight": round(weight, 4)} for item, weight in best])
    return told


def fit_past(data: SequentialData, memory: Memory | None) -> None:
    """Let ``data`` give as many items before a session as the memory holds, where nothing else was asked for.

    Raises:
        ArgumentError: If items are asked for and nothing remembers them, or more than it holds.
    """
    holds = 0 if memory is None else capacity(memory.storage) or 0
    if data.past is None:
        data.past = holds
    if data.past > holds:
        raise ArgumentError(
            f"--data.past {data.past} is more than the memory holds: there is room for {holds}"
        )
