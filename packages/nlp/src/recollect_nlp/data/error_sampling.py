"""Sampling of training items by the error rate of their group."""

import torch
from torch import Tensor

MIN_ERROR_RATE = 0.02
"""Smallest error rate that counts, so that no group disappears from training."""


def sample_by_error(groups: Tensor, error_rates: Tensor, generator: torch.Generator) -> Tensor:
    """Sample n of n items, with a share for each group in proportion to its error rate.

    Within a group, items are taken in random order, each once before any is taken twice.

    Args:
        groups: ``(n,)`` int64, group of each item.
        error_rates: ``(G,)`` error rate of each group in [0, 1]; at least ``MIN_ERROR_RATE`` is assumed.
        generator: Random generator.

    Returns:
        ``(n,)`` int64 items in random order.

    Example:
        >>> groups = torch.tensor([0] * 50 + [1] * 50)
        >>> items = sample_by_error(groups, torch.tensor([0.1, 0.3]), torch.Generator().manual_seed(0))
        >>> torch.bincount(groups[items]).tolist()
        [25, 75]
    """
    present = torch.bincount(groups, minlength=len(error_rates)) > 0
    weights = error_rates.clamp_min(MIN_ERROR_RATE) * present
    # The cumulative shares are rounded, so that the counts add up to n.
    ends = (weights.cumsum(0) / weights.sum() * len(groups)).round().long()
    counts = ends.diff(prepend=ends.new_zeros(1)).tolist()
    sampled = []
    for group, count in enumerate(counts):
        members = (groups == group).nonzero().squeeze(1)
        rounds = -(-count // max(len(members), 1))
        orders = [members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)]
        sampled += [torch.cat(orders)[:count]] if orders else []
    items = torch.cat(sampled)
    return items[torch.randperm(len(items), generator=generator)]
