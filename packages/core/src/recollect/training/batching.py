"""Batches of items of similar length."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

CHUNK = 50
"""Batches within which items are sorted by length before they are cut: long ones meet long ones, and on any
larger scale the order is random."""


def length_batches(
    lengths: Tensor, batch_size: int, *, seed: int | None = None, items: Tensor | None = None
) -> list[list[int]]:
    """Make ⌈n / batch_size⌉ batches of items of similar length, each item once.

    The n items are spread over the batches as evenly as possible, so that none is dropped and no batch is
    much smaller than the others.

    Args:
        lengths: ``(n,)`` length of each item.
        batch_size: Largest number of items in a batch.
        seed: Shuffles the items, sorts them by length within chunks of ``CHUNK`` batches and shuffles the
            batches. By default batches run from short to long.
        items: ``(m,)`` the items to use with a seed; all by default.

    Raises:
        ValueError: If ``batch_size`` is not positive.

    Example:
        >>> length_batches(torch.tensor([5, 1, 4, 2, 3]), batch_size=2)
        [[1, 3], [4, 2], [0]]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
    count = math.ceil(len(lengths) / batch_size)
    if count == 0:
        return []
    if seed is None:
        return [batch.tolist() for batch in lengths.argsort(stable=True).tensor_split(count)]
    generator = torch.Generator().manual_seed(seed)
    items = torch.arange(len(lengths)) if items is None else items
    order = items[torch.randperm(len(items), generator=generator)]
    order = sort_in_chunks(order.tensor_split(math.ceil(count / CHUNK)), lengths)
    batches = order.tensor_split(count)
    return [batches[i].tolist() for i in torch.randperm(count, generator=generator).tolist()]


def sort_in_chunks(chunks: Sequence[Tensor], lengths: Tensor) -> Tensor:
    """Sort the items of each chunk by length, and join the chunks.

    Args:
        chunks: Items ``(m,)`` int64.
        lengths: ``(n,)`` length of each item.

    Example:
        >>> order, lengths = torch.tensor([3, 0, 2, 1]), torch.tensor([5, 1, 4, 2])
        >>> sort_in_chunks(order.split(2), lengths)
        tensor([3, 0, 1, 2])
    """
    return torch.cat([chunk[lengths[chunk].argsort(stable=True)] for chunk in chunks])
