"""Writing consecutive rows to a ring buffer, where all batch items are at the same place."""

import torch
from torch import Tensor

from recollect.ops.inspection import can_inspect


def common_clock(clock: Tensor, mask: Tensor) -> int | None:
    """The ``clock`` ``(…,)`` if all batch items have the same and ``mask`` ``(…, W)`` is all true.

    ``None`` otherwise, and where the values cannot be looked at.
    """
    if not (can_inspect(clock) and can_inspect(mask)) or not mask.numel() or not mask.all():
        return None
    low, high = clock.aminmax()
    return int(low) if low == high else None


def write_ring(table: Tensor, rows: Tensor, clock: int, axis: int, inplace: bool) -> Tensor:
    """Write W rows to the slots ``clock``, ``clock + 1``, … modulo N; the last N of them if there are more.

    Args:
        table: ``(…, N, *)``.
        rows: ``(…, W, *)``.
        clock: Number of rows written before.
        axis: The axis of slots, counted from the start.
        inplace: Change ``table`` itself instead of a copy.

    Example:
        >>> write_ring(torch.zeros(4), torch.tensor([1.0, 2.0, 3.0]), clock=6, axis=0, inplace=False)
        tensor([3., 0., 1., 2.])
    """
    size, count = table.shape[axis], rows.shape[axis]
    rows, clock = _part(rows, axis, max(0, count - size), count), clock + max(0, count - size)
    count, start = min(count, size), clock % size
    wrapped = max(0, start + count - size)  # rows that go to the first slots
    end = start + count - wrapped
    tail, head = _part(rows, axis, 0, count - wrapped), _part(rows, axis, count - wrapped, count)
    if inplace:
        table.narrow(axis, start, count - wrapped).copy_(tail)
        table.narrow(axis, 0, wrapped).copy_(head)
        return table
    kept = (_part(table, axis, wrapped, start), _part(table, axis, end, size))
    parts = [part for part in (head, kept[0], tail, kept[1]) if part.shape[axis]]
    return torch.cat([part.to(table.dtype) for part in parts], axis)


def _part(rows: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Rows from ``start`` to ``stop``; the gradient of a slice costs a copy, so all rows are not one."""
    return rows if stop - start == rows.shape[axis] else rows.narrow(axis, start, stop - start)
