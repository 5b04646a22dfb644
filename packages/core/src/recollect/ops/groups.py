"""Rows of a batch in groups of equal numbers: what comes before each row in its group, without a loop."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Groups(NamedTuple):
    """W rows, sorted by group and, within a group, in their order.

    Attributes:
        order: ``(…, W)`` int64, the row at each position.
        position: ``(…, W)`` int64, the position of each row.
        start: ``(…, W)`` int64, by row: the position at which its group begins.
        end: ``(…, W)`` int64, by row: the position at which its group ends, exclusive.
    """

    order: Tensor
    position: Tensor
    start: Tensor
    end: Tensor


def group_rows(columns: Sequence[Tensor]) -> Groups:
    """Group W rows that are equal in every one of ``columns``, each ``(…, W)`` integer.

    Example:
        >>> groups = group_rows([torch.tensor([7, 3, 7, 7])])
        >>> groups.order, groups.start
        (tensor([1, 0, 2, 3]), tensor([1, 0, 1, 1]))
    """
    if columns[-1].shape[-1] == 1:
        none = torch.zeros_like(columns[-1], dtype=torch.int64)
        return Groups(none, none, none, none + 1)
    order = columns[-1].argsort(dim=-1, stable=True)
    for column in reversed(columns[:-1]):  # the last column was the least significant
        order = order.gather(-1, column.gather(-1, order).argsort(dim=-1, stable=True))
    place = torch.arange(order.shape[-1], device=order.device).expand(order.shape)
    position = torch.zeros_like(order).scatter(-1, order, place)
    if not order.numel():
        return Groups(order, position, position, position)
    in_order = [column.gather(-1, order) for column in columns]
    same = torch.stack([column[..., 1:] == column[..., :-1] for column in in_order]).all(0)
    edge = torch.ones_like(order[..., :1], dtype=torch.bool)
    begins, ends = torch.cat([edge, ~same], -1), torch.cat([~same, edge], -1)
    start = place.masked_fill(~begins, 0).cummax(-1).values
    end = (place + 1).masked_fill(~ends, order.shape[-1]).flip(-1).cummin(-1).values.flip(-1)
    return Groups(order, position, start.gather(-1, position), end.gather(-1, position))


def count_before(groups: Groups, flags: Tensor) -> tuple[Tensor, Tensor]:
    """Number of flagged rows before each row in its group, and in its whole group; both ``(…, W)``.

    Args:
        groups: The groups.
        flags: ``(…, W)`` bool, by row; it may have further leading axes.

    Example:
        >>> groups = group_rows([torch.tensor([7, 3, 7, 7])])
        >>> count_before(groups, torch.tensor([True, True, False, True]))
        (tensor([0, 0, 1, 1]), tensor([2, 1, 2, 2]))
    """
    if flags.shape[-1] == 1:
        total = flags.to(torch.int64)
        return torch.zeros_like(total), total
    counts = F.pad(_take(flags, groups.order).cumsum(-1), (1, 0))
    first = _take(counts, groups.start)
    return _take(counts, groups.position) - first, _take(counts, groups.end) - first


def last_before(groups: Groups, flags: Tensor) -> Tensor:
    """The last flagged row before each row in its group, ``(…, W)`` int64; −1 for none.

    Example:
        >>> groups = group_rows([torch.tensor([7, 3, 7, 7])])
        >>> last_before(groups, torch.tensor([True, True, False, True]))
        tensor([-1, -1,  0,  0])
    """
    if not flags.numel():
        return groups.order.expand(flags.shape)
    place = torch.arange(flags.shape[-1], device=flags.device)
    flagged = torch.where(_take(flags, groups.order), place, -1).cummax(-1).values
    before = _take(F.pad(flagged, (1, 0), value=-1), groups.position)
    row = groups.order.expand(before.shape).gather(-1, before.clamp_min(0))
    return row.masked_fill(before < groups.start, -1)


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """``rows[…, index]``, where ``rows`` may have further leading axes."""
    return rows.gather(-1, index.expand(*rows.shape[:-1], index.shape[-1]))
