"""More practice where there are more errors."""

import torch
from torch import Tensor

FLOOR = 0.02
"""The error rate that every group counts as having at least, so that nothing is forgotten."""


def focused(groups: Tensor, errors: Tensor, generator: torch.Generator) -> Tensor:
    """Draw as many items as there are, each group's share in proportion to its error rate.

    Within a group the items are taken in random order, each once before any is taken twice.

    Args:
        groups: ``(n,)`` int64, the group of each item.
        errors: ``(G,)`` error rate of each group in [0, 1]; rates under ``FLOOR`` count as ``FLOOR``.
        generator: Of the random order.

    Returns:
        ``(n,)`` int64 items in random order.

    Example:
        >>> groups = torch.tensor([0] * 50 + [1] * 50)
        >>> drawn = focused(groups, torch.tensor([0.1, 0.3]), torch.Generator().manual_seed(0))
        >>> torch.bincount(groups[drawn]).tolist()
        [25, 75]
    """
    present = torch.bincount(groups, minlength=len(errors)) > 0
    weights = errors.clamp_min(FLOOR) * present
    # Shares are rounded at their running sums, so that they add up to n.
    ends = (weights.cumsum(0) / weights.sum() * len(groups)).round().long()
    counts = ends.diff(prepend=ends.new_zeros(1)).tolist()
    drawn = []
    for group, count in enumerate(counts):
        members = (groups == group).nonzero().squeeze(1)
        rounds = -(-count // max(len(members), 1))
        orders = [members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)]
        drawn += [torch.cat(orders)[:count]] if orders else []
    items = torch.cat(drawn)
    return items[torch.randperm(len(items), generator=generator)]
