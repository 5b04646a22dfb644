"""Base class of collaborative filtering models."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_recsys.types import ClickBatch


class CatalogueSizes(NamedTuple):
    """Sizes of a model.

    Attributes:
        items: Number I of items.
        users: Number of training users.
        clicks: Number of their clicks.
    """

    items: int
    users: int
    clicks: int


class ClickRecommender(nn.Module, ABC):
    """Scores of all items for users, from a graph of clicks and from what is known of each user.

    ``precompute`` computes once what all users share; the other methods take its result. Items are numbered
    from 1; 0 is padding, and its score has no meaning.
    """

    candidates = 1
    """Number of settings that validation selects from, for models without training."""

    def select_candidate(self, candidate: int) -> None:
        """Use a setting, counted from 0; without effect if there is only one."""

    def selection_notes(self) -> list[str]:
        """Return notes on the selection."""
        return []

    def graph(self, clicks: Tensor) -> Any:
        """Precompute the part of ``clicks`` ``(2, n)`` that does not depend on parameters."""
        return clicks

    @abstractmethod
    def precompute(self, clicks: Any) -> Any:
        """Compute item representations from clicks ``(2, n)`` or their ``graph``; users count from 1."""

    @abstractmethod
    def scores(self, precomputed: Any, batch: ClickBatch) -> Tensor:
        """Return scores ``(B, I + 1)``."""

    def embed(self, precomputed: Any, batch: ClickBatch) -> tuple[Tensor, Tensor]:
        """Return user ``(B, D)`` and item ``(I + 1, D)`` vectors whose products are the scores.

        Raises:
            NotImplementedError: If the scores are not such products.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to learn by descent")

    def attribution(self, precomputed: Any, batch: ClickBatch, items: Tensor) -> Tensor | None:
        """Return the contribution of each known item to the scores of ``items`` ``(B, k)``.

        Returns:
            ``(B, k, S)``; ``None`` if the model does not use the items of a user.
        """
        return None


def sum_messages(seen: Tensor, messages: Tensor) -> Tensor:
    """Sum the ``messages`` ``(I + 1, D)`` of each user's items ``(B, S)``: ``(B, D)``.

    Example:
        >>> sum_messages(torch.tensor([[2, 1], [2, 0]]), torch.tensor([[9.0], [1.0], [2.0]])).tolist()
        [[3.0], [2.0]]
    """
    if seen.shape[1] == 0:
        return messages.new_zeros(len(seen), messages.shape[1])
    return F.embedding_bag(seen, messages, mode="sum", padding_idx=0)


def popularity_fallback(scores: Tensor, seen: Tensor, degree: Tensor) -> Tensor:
    """Scores ``(B, I + 1)``; for users without items, the popularity ``degree`` ``(I + 1,)``.

    Without edges there are no messages.

    Example:
        >>> scores, seen = torch.tensor([[0.0, 0.3], [0.0, 0.0]]), torch.tensor([[1, 0], [0, 0]])
        >>> popularity_fallback(scores, seen, torch.tensor([0.0, 7.0])).tolist()
        [[0.0, 0.30000001192092896], [0.0, 7.0]]
    """
    return torch.where((seen > 0).any(1, keepdim=True), scores, degree.to(scores))


RecommenderFactory = Callable[[CatalogueSizes], ClickRecommender]
"""Builds a model from its sizes: in YAML a ``class_path`` with ``init_args``."""
