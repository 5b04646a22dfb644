"""Which items stand together in a batch."""

import math

import torch
from torch import Tensor

CHUNK = 50
"""Batches within which items are sorted by length before they are cut: long ones meet long ones, and on any
larger scale the order is random."""


def length_batches(
    lengths: Tensor, batch_size: int, *, seed: int | None = None, items: Tensor | None = None
) -> list[list[int]]:
    """Batches of items of about the same length: every item once, in ⌈n / batch_size⌉ batches.

    The n items are spread over the batches as evenly as can be, so that none is dropped and no batch is much
    smaller than the others.

    Args:
        lengths: ``(n,)`` length of each item.
        batch_size: Items at most in a batch.
        seed: Deals the items out at random, sorts them by length within chunks of ``CHUNK`` batches and
            shuffles the batches, all as a function of the seed. Without it they run from short to long.
        items: ``(m,)`` which items to deal out, for a seeded order; all of them by default.

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
    chunks = order.tensor_split(math.ceil(count / CHUNK))
    order = torch.cat([chunk[lengths[chunk].argsort(stable=True)] for chunk in chunks])
    batches = order.tensor_split(count)
    return [batches[i].tolist() for i in torch.randperm(count, generator=generator).tolist()]
