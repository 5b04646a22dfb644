"""Putting rows into numbered places, as a new tensor or in place."""

import torch
from torch import Tensor


def check_slots(slots: Tensor, size: int) -> None:
    """Slots are in [0, size). On CPU scatter may write beyond a tensor; a CUDA device checks by itself.

    Raises:
        ValueError: If a slot is no slot.
    """
    if slots.device.type != "cpu" or torch.compiler.is_compiling() or not slots.numel():
        return
    if slots.amin() < 0 or slots.amax() >= size:
        raise ValueError(f"slots must be in [0, {size}), got {slots.tolist()}")


def last_writer(slots: Tensor, mask: Tensor, size: int) -> Tensor:
    """Which of W rows each of ``size`` places gets: the last one sent there, −1 for none.

    Args:
        slots: ``(…, W)`` int64 in [0, size).
        mask: ``(…, W)`` bool; a row where it is false goes nowhere.
        size: Number N of places.

    Returns:
        ``(…, N)`` int64.
    """
    rows = torch.arange(slots.shape[-1], device=slots.device).expand_as(slots)
    nobody = slots.new_full((*slots.shape[:-1], size), -1)
    return nobody.scatter_reduce(-1, slots.masked_fill(~mask, 0), rows.masked_fill(~mask, -1), "amax")


def take_rows(old: Tensor, new: Tensor, writer: Tensor) -> Tensor:
    """Row n of ``old`` (…, N, …) replaced by row ``writer[n]`` of ``new`` (…, W, …), kept if it is −1."""
    if new.shape[writer.dim() - 1] == 0:
        return old
    trailing = [1] * (old.dim() - writer.dim())
    index = writer.clamp_min(0).reshape(*writer.shape, *trailing)
    taken = new.to(old.dtype).gather(writer.dim() - 1, index.expand_as(old))
    return torch.where((writer >= 0).reshape(index.shape), taken, old)


def put_rows(old: Tensor, new: Tensor, slots: Tensor, mask: Tensor) -> Tensor:
    """A copy of ``old`` (…, N, …) with ``new[…, w]`` in place ``slots[w]`` for each unmasked row w.

    Slots of unmasked rows must not repeat (see ``without_repeats``). Costs one copy of ``old`` and O(W).
    """
    place = slots.dim() - 1
    size = old.shape[place]
    # Masked rows all go to one spare place at the end, which is cut off again.
    padded = torch.cat([old, old.narrow(place, 0, 1)], place)
    index = slots.masked_fill(~mask, size).reshape(*slots.shape, *[1] * (old.dim() - slots.dim()))
    return padded.scatter_(place, index.expand_as(new), new.to(old.dtype)).narrow(place, 0, size)


def put_rows_(old: Tensor, new: Tensor, slots: Tensor, mask: Tensor) -> Tensor:
    """In place: ``old[…, slots[w]] = new[…, w]`` for each unmasked row w; slots must not repeat.

    Its cost does not depend on N.
    """
    *batch, row = mask.nonzero(as_tuple=True)
    old[(*batch, slots[(*batch, row)])] = new[(*batch, row)].to(old.dtype)
    return old


def without_repeats(slots: Tensor, mask: Tensor) -> Tensor:
    """``mask`` (…, W) without the rows whose slot a later unmasked row names again."""
    # Masked rows get slots of their own beyond all others, so that they shadow nobody.
    own = torch.arange(slots.shape[-1], device=slots.device)
    shifted = torch.where(mask, slots, own + slots.amax() + 1) if slots.numel() else slots
    order = shifted.argsort(dim=-1, stable=True)
    in_order = shifted.gather(-1, order)
    last = torch.ones_like(mask)
    last[..., :-1] = in_order[..., 1:] != in_order[..., :-1]
    return mask & torch.zeros_like(mask).scatter(-1, order, last)
