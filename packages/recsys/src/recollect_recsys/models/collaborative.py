"""What every model of clicks offers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_recsys.types import ClickBatch


class CatalogueSizes(NamedTuple):
    """How large a model has to be.

    Attributes:
        items: Number I of items.
        users: Number of users who are learnt from.
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
    """How many settings there are to be chosen from by validation, where nothing is learnt by descent."""

    def select_candidate(self, candidate: int) -> None:
        """Go on with a setting, counted from 0; a model without any stays as it is."""

    def selection_notes(self) -> list[str]:
        """What was chosen, for the reader of results."""
        return []

    def graph(self, clicks: Tensor) -> Any:
        """What ``clicks`` ``(2, n)`` say whatever is learnt, to be kept while they stay the same."""
        return clicks

    @abstractmethod
    def precompute(self, clicks: Any) -> Any:
        """Learn all that clicks ``(2, n)``, of users from 1 on, or their ``graph`` say about the items."""

    @abstractmethod
    def scores(self, precomputed: Any, batch: ClickBatch) -> Tensor:
        """Scores ``(B, I + 1)``."""

    def embed(self, precomputed: Any, batch: ClickBatch) -> tuple[Tensor, Tensor]:
        """Vectors ``(B, D)`` and ``(I + 1, D)`` whose products are the scores, where there are such.

        Raises:
            NotImplementedError: If scores are made otherwise.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to learn by descent")

    def attribution(self, precomputed: Any, batch: ClickBatch, items: Tensor) -> Tensor | None:
        """What each known item of a user adds to the scores of ``items`` ``(B, k)``.

        Returns:
            ``(B, k, S)``; ``None`` where the model does not look at the items of a user.
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
    """Scores ``(B, I + 1)``; for a user who has no item, ``degree`` ``(I + 1,)``, how many users have each.

    Messages along no edge say nothing, and a list has to begin somewhere.

    Example:
        >>> scores, seen = torch.tensor([[0.0, 0.3], [0.0, 0.0]]), torch.tensor([[1, 0], [0, 0]])
        >>> popularity_fallback(scores, seen, torch.tensor([0.0, 7.0])).tolist()
        [[0.0, 0.30000001192092896], [0.0, 7.0]]
    """
    return torch.where((seen > 0).any(1, keepdim=True), scores, degree.to(scores))


RecommenderFactory = Callable[[CatalogueSizes], ClickRecommender]
"""Makes a model of the right size: in YAML a ``class_path`` with ``init_args``."""
