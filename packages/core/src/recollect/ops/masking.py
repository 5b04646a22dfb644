"""Masks over the rows of a tensor; true marks a row that counts."""

import torch
from torch import Tensor

from recollect.ops.inspection import can_inspect
from recollect.state import Read


def full_mask(x: Tensor, mask: Tensor | None, name: str = "x") -> Tensor:
    """Return ``mask``, or a mask that is true for every row of ``x`` if it is ``None``.

    Args:
        x: ``(…, n, D)``.
        mask: ``(…, n)`` bool.
        name: Name of ``x`` in error messages.

    Raises:
        ValueError: If ``mask`` has the wrong shape or dtype.
    """
    if mask is None:
        return torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
    if mask.shape != x.shape[:-1] or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be bool of shape {tuple(x.shape[:-1])} to go with {name}, "
            f"got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    return mask


def apply_mask(tensor: Tensor, mask: Tensor) -> Tensor:
    """Zero a tensor where ``mask`` is false, even where it holds NaN.

    Args:
        tensor: ``(…, n, *)``.
        mask: ``(…, n)`` bool.

    Example:
        >>> apply_mask(torch.tensor([[1.0, 2.0], [torch.nan, 3.0]]), torch.tensor([True, False]))
        tensor([[1., 2.],
                [0., 0.]])
    """
    return tensor.masked_fill(~mask.reshape((*mask.shape, *[1] * (tensor.dim() - mask.dim()))), 0)


def zero_empty(rows: Tensor, presence: Tensor) -> Tensor:
    """Zero the rows ``(…, N, *)`` of slots without presence ``(…, N)``, even where they hold NaN."""
    return rows if none_empty(presence) else apply_mask(rows, presence > 0)


def none_empty(presence: Tensor) -> bool:
    """Whether every slot is known to be present, given ``presence`` ``(…, N)``."""
    return can_inspect(presence) and presence.numel() > 0 and presence.detach().amin().item() > 0


def mask_read(read: Read, mask: Tensor | None) -> Read:
    """Zero value and weights of masked queries; ``mask`` is ``(…, Q)`` bool."""
    if mask is None:
        return read
    weights = None if read.weights is None else apply_mask(read.weights, mask)
    return Read(apply_mask(read.value, mask), weights, read.slots)
