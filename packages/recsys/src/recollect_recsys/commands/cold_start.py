"""NDCG of users who arrive after training, by number of clicks.

``recollect-recsys cold-start RUN [RUN …]`` compares run folders, for instance with and without memory, on the
users that ``--data.new_users`` held out of training.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch

from recollect.training import DataError, TrainedRun
from recollect.training.load import report_runs
from recollect_recsys.data.clicks import ClickDataset
from recollect_recsys.data.collaborative import CollaborativeData
from recollect_recsys.data.sequential import SequentialData
from recollect_recsys.data.sessions import SessionDataset
from recollect_recsys.metrics.collaborative import TOP_K as SET_TOP_K
from recollect_recsys.metrics.collaborative import ListMetrics
from recollect_recsys.metrics.ranking import mask_seen, rank_targets, top_items
from recollect_recsys.metrics.sequential import TOP_K, NextItemMetrics
from recollect_recsys.metrics.user_metrics import UserMetrics
from recollect_recsys.models.sequential import SessionRecommender
from recollect_recsys.tasks.collaborative import CollaborativeFiltering
from recollect_recsys.tasks.sequential import NextItem

CLICKS = (0, 1, 2, 5, 10, 20)

BATCH_SIZE = 256
"""Number of users in a batch."""


class ColdStartResult(NamedTuple):
    """NDCG after a number of clicks.

    Attributes:
        clicks: Number of known clicks.
        users: Number of users with that many clicks and a target.
        ndcg: NDCG@10 of the next item, NDCG@20 of a set.
        error: Its standard error over users.
    """

    clicks: int
    users: int
    ndcg: float
    error: float


@torch.no_grad()
def ndcg_by_clicks(run: TrainedRun, clicks: Sequence[int] = CLICKS) -> list[ColdStartResult]:
    """Compute NDCG after each number of clicks, over users held out of training.

    For sequences, the target is the next item after a user's first clicks. For sets, the targets are a user's
    test items, the same for any number of clicks, and the clicks are drawn at random.

    Raises:
        DataError: If no users were held out.
    """
    data = cast(SequentialData | CollaborativeData, run.data)
    if not data.is_new.any():
        raise DataError("no users were held out of training: train with --data.new_users 0.1, for instance")
    if isinstance(data, CollaborativeData):
        task = cast(CollaborativeFiltering, run.task)
        return [_measure_sets(task, data, data.cold_start(count), count) for count in clicks]
    model = cast(SessionRecommender, run.task.model)
    return [_measure_next(data, model, data.cold_start(count), count) for count in clicks]


def _measure_sets(
    task: CollaborativeFiltering, data: CollaborativeData, users: ClickDataset, clicks: int
) -> ColdStartResult:
    metrics = ListMetrics(len(data.items))
    for rows in torch.arange(len(users)).split(BATCH_SIZE):  # type: ignore[no-untyped-call]
        if len(rows) == 0:
            continue
        batch = users.__getitems__(rows.tolist())
        scores = task.model.scores(task.precomputed(), batch)
        scores[:, 0] = -torch.inf
        lists, _ = top_items(mask_seen(scores, batch.seen), SET_TOP_K)
        metrics.update(lists, batch.target, batch.seen.gt(0).sum(1))
    return _figures(metrics, "ndcg@20", clicks, len(users))


def _measure_next(
    data: SequentialData, model: SessionRecommender, sessions: SessionDataset, clicks: int
) -> ColdStartResult:
    metrics = NextItemMetrics(len(data.items))
    for rows in torch.arange(len(sessions)).split(BATCH_SIZE):  # type: ignore[no-untyped-call]
        if len(rows) == 0:
            continue
        batch = sessions.cut(rows)
        ends = batch.length - 1
        states = model(batch)[torch.arange(len(rows)), ends]
        target = batch.target.gather(1, ends.unsqueeze(1)).squeeze(1)
        seen = batch.seen[:, :0] if data.repeats else batch.seen
        ranks, lists = rank_targets(states, target, seen, model.scores, TOP_K)
        metrics.update(ranks, lists, batch.seen.gt(0).sum(1))
    return _figures(metrics, "ndcg@10", clicks, len(sessions))


def _figures(metrics: UserMetrics, name: str, clicks: int, users: int) -> ColdStartResult:
    if users == 0:
        return ColdStartResult(clicks, 0, float("nan"), float("nan"))
    found = metrics.compute()
    return ColdStartResult(clicks, users, float(found[name]), float(found[f"{name}_se"]))


def report(folder: str, run: TrainedRun) -> None:
    """Print the results of a run.

    Raises:
        DataError: If the run is of a task that is not of this package.
    """
    if not isinstance(run.task, NextItem | CollaborativeFiltering):
        kind = type(run.task).__name__
        raise DataError(f"{folder} is not a run of NextItem or CollaborativeFiltering but of {kind}")
    print(folder)
    name = "NDCG@20" if isinstance(run.data, CollaborativeData) else "NDCG@10"
    for row in ndcg_by_clicks(run):
        print(f"  {row.clicks:>3} clicks  {name} {row.ndcg:.4f} ± {row.error:.4f}  ({row.users} users)")


def run(options: argparse.Namespace) -> None:
    """Report on the run folders ``options.runs``."""
    report_runs("recollect_recsys", options.runs, report)
