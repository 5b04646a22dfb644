"""One store for many readers: rows of several batch items next to each other."""

from torch import Tensor

from recollect.state import Read


def fold_readers(rows: Tensor, readers: int, axis: int) -> Tensor:
    """Join leading axes with the axis of rows: ``(*readers, *batch, n, …)`` → ``(*batch, readers · n, …)``.

    Args:
        rows: A tensor with more batch axes than the store.
        readers: Number of leading axes that the store lacks.
        axis: The axis of the n rows, counted from the end (−1 or −2).

    Example:
        >>> import torch
        >>> fold_readers(torch.zeros(5, 3, 2, 7), readers=2, axis=-2).shape  # a store without batch axes
        torch.Size([30, 7])
    """
    if not readers:
        return rows
    axis += rows.dim()
    order = [*range(readers, axis), *range(readers), *range(axis, rows.dim())]
    return rows.permute(order).flatten(axis - readers, axis)


def unfold_readers(rows: Tensor, readers: tuple[int, ...], count: int, axis: int) -> Tensor:
    """Undo ``fold_readers``: ``(*batch, readers · n, …)`` → ``(*readers, *batch, n, …)``.

    Args:
        rows: A tensor with the batch axes of the store.
        readers: Sizes of the leading axes that the store lacks.
        count: Number n of rows of each reader.
        axis: The axis of the rows, counted from the end (−1 or −2).
    """
    axis += rows.dim()
    rows = rows.reshape(*rows.shape[:axis], *readers, count, *rows.shape[axis + 1 :])
    order = [*range(axis, axis + len(readers)), *range(axis), *range(axis + len(readers), rows.dim())]
    return rows.permute(order)


def unfold_read(read: Read, readers: tuple[int, ...], count: int) -> Read:
    """Undo ``fold_readers`` for the result of a read."""
    value = unfold_readers(read.value, readers, count, -2)
    weights = None if read.weights is None else unfold_readers(read.weights, readers, count, -2)
    slots = None if read.slots is None else unfold_readers(read.slots, readers, count, -2)
    return Read(value, weights, slots)
