"""Collaborative filtering."""

from typing import Any, Literal, cast, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam
from torchmetrics import MetricCollection

from recollect.training import NamedFigure, ReadHeatmap, Task
from recollect.training.errors import ArgumentError
from recollect.training.task import Stage
from recollect.validation import check_positive
from recollect_recsys.data.collaborative import CollaborativeData
from recollect_recsys.figures.bar_chart import by_history_length, by_popularity
from recollect_recsys.metrics.collaborative import TOP_K, ListMetrics
from recollect_recsys.metrics.ranking import chunks, mask_seen, top_items
from recollect_recsys.models.collaborative import CatalogueSizes, ClickRecommender, RecommenderFactory
from recollect_recsys.models.collaborative_losses import ClickLoss, bpr_loss, softmax_loss
from recollect_recsys.models.matrix_factorization import MatrixFactorization
from recollect_recsys.types import ClickBatch

DRAWN = 10
"""Number of items to draw."""


@final
class CollaborativeFiltering(Task[CollaborativeData]):
    """Predict further items of a user out of the whole catalogue.

    Validation and test rank all unknown items of a user in lists of twenty. A model without parameters is
    computed in closed form. For test and prediction, the memory includes the clicks held out for validation.

    Args:
        memory: Builds a model that reads a graph memory of all clicks, ``LightGCN`` or ``GraphFilter``, given
            its sizes.
        recommender: Builds the model used without a memory, given its sizes.
        loss: ``"softmax"`` over the catalogue, or ``"bpr"``.
        negatives: Items that the softmax is estimated from at each step; all by default.
        top: Length of the lists that ``predict`` writes.
        num_explanations: How many of a user's items are named with each recommended one, those that add most.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If a number is not positive, or the loss has no such argument.
    """

    model: ClickRecommender
    model_methods = ("precompute", "embed", "scores", "attribution")
    default_optimizer = Adam

    def __init__(
        self,
        memory: RecommenderFactory | None = None,
        recommender: RecommenderFactory = MatrixFactorization,
        loss: ClickLoss = "softmax",
        negatives: int | None = None,
        top: int = 10,
        num_explanations: int = 3,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        check_positive(negatives=negatives, top=top, num_explanations=num_explanations)
        if negatives is not None and loss != "softmax":
            raise ValueError("negatives are drawn for the softmax only")
        self.memory = memory
        self.recommender = recommender
        self.loss = loss
        self.negatives = negatives
        self.top = top
        self.num_explanations = num_explanations
        self._graph: Any = None  # of the clicks that are learned from
        self._precomputed: Any = None  # until the epoch ends
        self._figures: list[NamedFigure] = []

    @property
    def _learns(self) -> bool:
        return any(parameter.requires_grad for parameter in self.model.parameters())

    # --- overrides ------------------------------------------------------------------------------------------

    def build_model(self, data: CollaborativeData) -> nn.Module:
        """Build a model for the data's sizes."""
        clicks = data.graph(held_out=True)
        users = int(clicks[0].max()) if clicks.numel() else 0
        build = self.recommender if self.memory is None else self.memory
        model = build(CatalogueSizes(len(data.items), users, clicks.shape[1]))
        if model.candidates > 1 and data.holdout == 0:
            raise ArgumentError(
                f"--data.holdout is 0, so that nothing can be chosen among the {model.candidates} settings "
                "of --model.memory: hold something out, or give it one of each"
            )
        return model

    def build_metrics(self, data: CollaborativeData) -> MetricCollection:
        """Recall, NDCG and coverage."""
        return MetricCollection({"lists": ListMetrics(len(data.items))})

    def training_loss(self, batch: ClickBatch) -> tuple[Tensor, int]:
        """Every click of the batch's users against the catalogue; zero where nothing is to be learned."""
        clicks = int((batch.seen > 0).sum())
        if not self._learns:
            return torch.zeros((), device=self.device), clicks
        users, items = self.model.embed(self.model.precompute(self._training_graph()), batch)
        if self.loss == "bpr":
            return bpr_loss(users, items, batch.seen), clicks
        drawn = None
        if self.negatives is not None:
            drawn = torch.randint(1, len(items), (self.negatives,), device=items.device)
        return softmax_loss(users, items, batch.seen, drawn), clicks

    def evaluate(self, batch: ClickBatch, metrics: MetricCollection) -> None:
        """Rank all that is not known of each user."""
        for part, items, _ in self._lists(batch, TOP_K):
            metrics["lists"].update(items, part.target, (part.seen > 0).sum(1))

    def predict(self, batch: ClickBatch) -> list[dict[str, Any]]:
        """A list for each user, with the items of theirs that add most to each score."""
        rows = []
        for part, items, scores in self._lists(batch, self.top):
            added = self.model.attribution(self._precomputed, part, items)
            for row, user in enumerate(part.place.tolist()):
                there = int((items[row] > 0).sum())
                because = None if added is None else self._because(part.seen[row], added[row, :there])
                rows.append(
                    {
                        "user": self.data.names[user],
                        "items": [self.data.items[item - 1] for item in items[row, :there].tolist()],
                        "scores": [round(score, 4) for score in scores[row, :there].tolist()],
                        "because": because,
                    }
                )
        return rows

    @property
    def notes(self) -> list[str]:
        """What validation chose."""
        return [*super().notes, *self.model.selection_notes()]

    def figures(self, batch: ClickBatch) -> list[NamedFigure]:
        """Recall by known items, popularity of what is recommended, and what one list was made of."""
        one = ((batch.seen > 0).sum(1) - DRAWN).abs().argmin()  # as many items as can be told apart
        part, items, _ = next(self._lists(ClickBatch(*(field[one : one + 1] for field in batch)), 5))
        added = self.model.attribution(self._precomputed, part, items)
        if added is None:
            return self._figures
        names = self.data.items
        order = added[0].clamp_min(0).sum(0).argsort(descending=True)[:DRAWN]
        order = order[part.seen[0, order] > 0]
        shares = shares_of(added[0])[:, order].cpu()
        rows, columns = items[0].tolist(), part.seen[0, order].tolist()
        title = f"share of each item of user {self.data.names[int(batch.place[one])]} in what is recommended"
        picture = ReadHeatmap(
            title,
            shares,
            [names[i - 1] for i in rows],
            [names[i - 1] for i in columns],
            across="items recommended, the best first",
            down="items of the user",
        )
        return [*self._figures, picture]

    def summarize(self, stage: Stage, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The figures as they are; what is drawn of them is kept."""
        metrics = cast(ListMetrics, self.stage_metrics(stage)["lists"])
        self._figures = [
            by_history_length(metrics.by_length.clone(), "recall@20"),
            by_popularity(metrics.recommended[1:].clone(), self.data.popularity[1:]),
        ]
        return values

    def _because(self, seen: Tensor, added: Tensor) -> list[list[dict[str, Any]]]:
        parts = top_contributions(seen, added, self.num_explanations)
        return [[{"item": self.data.items[item - 1], "share": share} for item, share in p] for p in parts]

    # --- the graph ------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Where nothing is learned by descent, an epoch is the trial of a setting."""
        if not self._learns:
            self.model.select_candidate(self.current_epoch)

    def on_train_epoch_end(self) -> None:
        """The last trial is the end."""
        if not self._learns and self.current_epoch + 1 >= self.model.candidates:
            self.trainer.should_stop = True

    def on_validation_epoch_start(self) -> None:
        """The model has changed."""
        self._precomputed = None

    def on_test_epoch_start(self) -> None:
        """So has the graph."""
        self._precomputed = None

    def on_predict_epoch_start(self) -> None:
        """So has the graph."""
        self._precomputed = None

    def _training_graph(self) -> Any:
        """The clicks that are learned from, or, where the model keeps them in a memory, that memory."""
        if self._graph is None:
            self._graph = self.model.graph(self.data.graph(held_out=False).to(self.device))
        return self._graph

    @torch.no_grad()
    def precomputed(self) -> Any:
        """What the model makes of the graph of this stage, once an epoch."""
        if self._precomputed is None:
            learning = self.trainer.validating or self.trainer.sanity_checking or self.trainer.training
            clicks = self._training_graph() if learning else self.data.graph(held_out=True).to(self.device)
            self._precomputed = self.model.precompute(clicks)
        return self._precomputed

    @torch.no_grad()
    def _lists(self, batch: ClickBatch, count: int) -> Any:
        """The batch in parts, with the best items for each and their scores."""
        precomputed = self.precomputed()
        for now in chunks(len(batch.user), len(self.data.items) + 1):
            part = ClickBatch(*(field[now] for field in batch))
            scores = self.model.scores(precomputed, part)
            scores[:, 0] = -torch.inf
            yield part, *top_items(mask_seen(scores, part.seen), count)


def shares_of(added: Tensor) -> Tensor:
    """What each item adds ``(…, S)`` as shares of all that is added, at least 0; they sum to 1, or are 0."""
    raised = added.clamp_min(0)
    return raised / raised.sum(-1, keepdim=True).clamp_min(1e-12)


def top_contributions(seen: Tensor, added: Tensor, count: int) -> list[list[tuple[int, float]]]:
    """For each of k recommended items the ``count`` known ones that add most, with their shares.

    Args:
        seen: ``(S,)``.
        added: ``(k, S)``.
        count: How many.
    """
    best = shares_of(added.masked_fill(seen == 0, 0)).topk(min(count, len(seen)), 1)
    return [
        [(item, round(share, 4)) for item, share in zip(items, shares, strict=True) if share > 0]
        for items, shares in zip(seen[best.indices].tolist(), best.values.tolist(), strict=True)
    ]
