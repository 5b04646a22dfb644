"""Padding that the arguments of a layer mark, as a mask of steps."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING_ARGUMENTS = ("src_key_padding_mask", "tgt_key_padding_mask", "key_padding_mask")
"""Arguments of PyTorch's layers that mark padding in their first input."""

ATTENTION_MASK = "attention_mask"
"""Argument of Hugging Face's layers that marks the steps that are no padding."""


def marked_steps(arguments: Mapping[str, Any]) -> Tensor | None:
    """Return the steps that are no padding, ``(B, T)`` bool, or ``None`` if no argument marks any.

    ``key_padding_mask`` and the like are true or −∞ at padding. ``attention_mask`` is ``(B, T)``, zero at
    padding, or extended to ``(B, 1, Q, T)``, false or very negative where a query must not attend.
    """
    for name in PADDING_ARGUMENTS:
        padding = arguments.get(name)
        if isinstance(padding, Tensor):
            real = ~padding if padding.dtype == torch.bool else padding == 0
            return real if real.dim() > 1 else real.unsqueeze(0)
    mask = arguments.get(ATTENTION_MASK)
    if not isinstance(mask, Tensor):
        return None
    if mask.dim() == 2:
        return mask != 0
    return _from_extended(mask) if mask.dim() == 4 else None


def _from_extended(mask: Tensor) -> Tensor:
    """Steps that are no padding according to a mask ``(B, 1, Q, T)`` of attention.

    A step may attend to itself unless it is padding. With a cache there are fewer queries than keys; then a
    query is padding if it may attend to nothing.
    """
    attends = mask[:, 0] if mask.dtype == torch.bool else mask[:, 0] > torch.finfo(mask.dtype).min / 2
    queries, keys = attends.shape[-2:]
    return attends.diagonal(dim1=-2, dim2=-1) if queries == keys else attends.any(-1)


def last_steps(mask: Tensor, steps: int) -> Tensor:
    """Return the last ``steps`` steps of a mask ``(B, T)``."""
    return mask if mask.shape[-1] <= steps else mask[..., -steps:]


def grown(mask: Tensor, steps: int) -> Tensor:
    """Return a mask ``(B, T)`` with further steps that are no padding, up to ``steps``."""
    return mask if mask.shape[-1] >= steps else F.pad(mask, (0, steps - mask.shape[-1]), value=True)
