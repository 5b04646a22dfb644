"""Attribution of the reads of a memory to the sentences of a story."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from recollect import Read, SlotStorage, Storage


def has_entry_per_sentence(states: Iterable[tuple[Storage, Any]], lengths: Tensor) -> Tensor:
    """Return whether each store holds as many entries as the stories have sentences, ``lengths`` ``(B,)``.

    Otherwise the storage has merged or evicted sentences, and entries cannot be attributed to sentences.

    Returns:
        ``(B,)`` bool.
    """
    separate = torch.ones_like(lengths, dtype=torch.bool)
    for storage, state in states:
        if not isinstance(storage, SlotStorage):
            return torch.zeros_like(separate)
        filled = storage.entries(state).filled > 0
        count = filled.sum(-1).reshape(len(lengths), -1)
        separate &= (count == lengths.unsqueeze(1)).all(1)
    return separate


def sentence_weights(reads: Sequence[Read], item: int, sentences: int) -> Tensor:
    """Return the weights ``(reads, sentences)`` of the sentences of a story, averaged over heads.

    Entries must be in the order of the sentences, one per sentence; see ``has_entry_per_sentence``.

    Args:
        reads: The reads of a batch.
        item: Index of the story in the batch.
        sentences: Number of its sentences.
    """
    rows = []
    for read in reads:
        weights = cast(Tensor, read.weights)[item, ..., 0, :].float()
        if read.slots is not None:
            size = max(int(read.slots.amax()) + 1, sentences)
            spread = weights.new_zeros(*weights.shape[:-1], size)
            weights = spread.scatter_add(-1, read.slots[item, ..., 0, :], weights)
        rows.append(weights.reshape(-1, weights.shape[-1]).mean(0)[:sentences])  # (sentences,)
    return torch.stack(rows).cpu() if rows else torch.zeros(0, sentences, device="cpu")
