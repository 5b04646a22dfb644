"""Batched gathering and scattering of rows; a trailing underscore marks in-place functions."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.ops.inspection import is_traced


def split_rows(size: int, *rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors ``(…, W, *)`` into pieces of ``size`` rows at most; the last is ``(…, W)``."""
    axis = rows[-1].dim() - 1
    return zip(*(torch.split(tensor, size, axis) for tensor in rows), strict=True)


def gather_rows(table: Tensor, slots: Tensor) -> Tensor:
    """Look up rows of ``table`` ``(…, N, D)`` at ``slots`` ``(…, Q, C)``, at a cost independent of N.

    Returns:
        ``(…, Q, C, D)``.
    """
    table, index = flat_rows(table, slots)
    return F.embedding(index, table)


def flat_rows(table: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
    """``table`` ``(…, N, D)`` without batch axes, and ``slots`` ``(…, Q, C)`` as numbers of its rows."""
    *batch, size, width = table.shape
    first = torch.arange(0, table[..., 0].numel(), size, device=table.device).reshape(*batch, 1, 1)
    return table.reshape(-1, width), slots + first


def masked_put(table: Tensor, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool) -> Tensor:
    """Set integers of ``table`` ``(…, N)`` at ``slots`` ``(…, n)`` where ``mask`` ``(…, n)`` is true.

    Slots must not repeat among unmasked rows. A table that is changed in place must be contiguous.
    """
    change = (value - table.gather(-1, slots)).masked_fill(~mask, 0)
    return (table.scatter_add_ if inplace else table.scatter_add)(-1, slots, change)


def assign(old: Tensor, new: Tensor, inplace: bool) -> Tensor:
    """Return ``new``, in the memory of ``old`` if ``inplace``."""
    return old.copy_(new) if inplace else new


def scatter_rows(table: Tensor, rows: Tensor, slots: Tensor, mask: Tensor | None) -> Tensor:
    """Copy ``table`` ``(…, N, *)`` with ``rows[…, w]`` at ``slots[…, w]`` for each row w that ``mask`` keeps.

    All rows if it is ``None``.

    Slots must not repeat among unmasked rows; see ``mask_repeats``. Costs one copy of ``table`` and O(W).
    """
    axis, size = slots.dim() - 1, table.shape[slots.dim() - 1]
    shape = (*slots.shape, *[1] * (table.dim() - slots.dim()))
    if mask is None:
        return table.scatter(axis, slots.reshape(shape).expand_as(rows), rows.to(table.dtype))
    # Masked rows all go to a spare slot at the end, which is cut off again.
    padded = torch.cat([table, table.narrow(axis, 0, 1)], axis)
    index = slots.masked_fill(~mask, size).reshape(shape)
    index, rows = index.expand_as(rows), rows.to(table.dtype)
    # vmap cannot change a table in place that only the rows are mapped over.
    written = (padded.scatter if is_traced(index) else padded.scatter_)(axis, index, rows)
    return written.narrow(axis, 0, size)


def scatter_rows_(table: Tensor, rows: Tensor, slots: Tensor, mask: Tensor) -> Tensor:
    """In-place version of ``scatter_rows``; its cost does not depend on N."""
    if not mask.numel():
        return table
    axis = slots.dim() - 1
    # A masked row repeats an unmasked one; if there is none, all rows put back what is there.
    some = mask.to(torch.uint8).argmax(-1, keepdim=True)
    source = torch.where(mask, torch.arange(mask.shape[-1], device=mask.device), some)
    shape = (*slots.shape, *[1] * (table.dim() - slots.dim()))
    index = slots.gather(-1, source).reshape(shape).expand_as(rows)
    kept = mask.any(-1, keepdim=True).expand_as(mask).reshape(shape)
    rows = rows.gather(axis, source.reshape(shape).expand_as(rows)).to(table.dtype)
    return table.scatter_(axis, index, torch.where(kept, rows, table.gather(axis, index)))


def mask_repeats(slots: Tensor, mask: Tensor) -> Tensor:
    """Drop from ``mask`` ``(…, W)`` the rows whose slot a later unmasked row names again.

    Example:
        >>> mask_repeats(torch.tensor([3, 1, 3]), torch.tensor([True, True, True]))
        tensor([False,  True,  True])
    """
    if slots.shape[-1] == 1:
        return mask
    # Masked rows get distinct numbers above all slots, so that they shadow nothing.
    own = torch.arange(slots.shape[-1], device=slots.device)
    shifted = torch.where(mask, slots, own + slots.amax() + 1) if slots.numel() else slots
    order = shifted.argsort(dim=-1, stable=True)
    in_order = shifted.gather(-1, order)
    last = torch.ones_like(mask)
    last[..., :-1] = in_order[..., 1:] != in_order[..., :-1]
    return mask & torch.zeros_like(mask).scatter(-1, order, last)


def any_slot(slots: Tensor, mask: Tensor, size: int) -> Tensor:
    """Which of N slots are among the unmasked ones of ``slots`` ``(…, n)``: ``(…, N)`` bool.

    Example:
        >>> any_slot(torch.tensor([3, 1, 0]), torch.tensor([True, True, False]), size=4)
        tensor([False,  True, False,  True])
    """
    none = torch.zeros((*slots.shape[:-1], size + 1), dtype=torch.bool, device=slots.device)
    return none.scatter(-1, slots.masked_fill(~mask, size), True)[..., :size]


def mask_slots(slots: Tensor, strength: Tensor, mask: Tensor) -> Tensor:
    """Set ``slots`` ``(…, W)`` to −1 for rows that are masked or have strength zero."""
    return slots.masked_fill(~(mask & (strength > 0)), -1)
