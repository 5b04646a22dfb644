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


def check_indices(slots: Tensor, name: str, shape: torch.Size) -> Tensor:
    """``slots`` as int64.

    Raises:
        ValueError: If they are no integers of ``shape``.
    """
    if slots.shape != shape or slots.dtype == torch.bool or slots.is_floating_point() or slots.is_complex():
        raise ValueError(
            f"{name} must hold integers of shape {tuple(shape)}, "
            f"got {slots.dtype} of shape {tuple(slots.shape)}"
        )
    return slots.long()


def made(slots: Tensor, strength: Tensor, mask: Tensor) -> Tensor:
    """``slots`` (…, W), −1 where nothing was written that is present."""
    return slots.masked_fill(~(mask & (strength > 0)), -1)


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


def free_slots(presence: Tensor, strength: Tensor, mask: Tensor) -> Tensor | None:
    """The first free places in order, one for each of W entries; ``None`` where they are to go one by one.

    That is where a batch item has fewer free places than entries, or an entry of strength zero, which leaves
    its place free for the next; and for a single entry, since a search costs less than sorting.

    Args:
        presence: ``(…, N)``; zero is a free place.
        strength: ``(…, W)``.
        mask: ``(…, W)`` bool, which entries there are; a place of the others carries no meaning.
    """
    if torch.compiler.is_compiling() or not mask.numel() or mask.shape[-1] == 1:
        return None
    if bool((mask & (strength <= 0)).any()):
        return None
    free = presence <= 0
    if bool((mask.sum(-1) > free.sum(-1)).any()):
        return None
    order = (~free).to(torch.uint8).argsort(dim=-1, stable=True)
    return order.gather(-1, (mask.cumsum(-1) - 1).clamp(0, order.shape[-1] - 1))
