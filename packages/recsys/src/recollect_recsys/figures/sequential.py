"""Figures of sequential recommendation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recollect.training import NamedFigure
from recollect_recsys.figures.bar_chart import by_history_length, by_popularity, items_read, memory_use
from recollect_recsys.metrics.sequential import NextItemMetrics
from recollect_recsys.models.interest_memory import InterestMemory
from recollect_recsys.models.sequential import SessionRecommender
from recollect_recsys.types import SessionBatch

MAX_ITEMS = 30
"""Number of most recent items to draw."""


def measured_figures(metrics: NextItemMetrics, consumed: Tensor) -> list[NamedFigure]:
    """NDCG by length of history, and popularity; before the metrics are reset."""
    return [
        by_history_length(metrics.by_length.clone()),
        by_popularity(metrics.recommended[1:].clone(), consumed[1:]),
    ]


def memory_figures(
    model: SessionRecommender, batch: SessionBatch, names: list[str], users: Sequence[str], room: int
) -> list[NamedFigure]:
    """How much is remembered of each user of a batch, and what was read for the first of them."""
    if not isinstance(model.memory, InterestMemory):
        return []
    given = (batch.past > 0).sum(1) + (batch.session > 0).sum(1)
    figures: list[NamedFigure] = [memory_use(given.clamp_max(room).cpu(), room)]
    longest = given.argmax()  # the longest history has most to choose from
    one = SessionBatch(*(part[longest : longest + 1] for part in batch))
    _, attribution = model.last_state(one)
    items = [item for item in torch.cat([one.past, one.session], 1)[0].tolist() if item]
    if attribution is None or not items:
        return figures
    weights = torch.zeros(len(items), device="cpu")
    there = attribution.numbers[0] >= 0
    weights.index_add_(0, attribution.numbers[0][there].cpu(), attribution.weights[0][there].float().cpu())
    shown = slice(-MAX_ITEMS, None)
    labels = [names[item - 1] for item in items[shown]]
    return [*figures, items_read(users[int(one.user)], weights[shown], labels)]
