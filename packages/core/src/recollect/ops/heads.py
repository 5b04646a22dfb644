"""Attention heads as a batch axis."""

from torch import Tensor


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Split the last axis into heads and put them before the sequence: ``(…, T, H·D)`` → ``(…, H, T, D)``.

    Example:
        >>> import torch
        >>> split_heads(torch.zeros(2, 5, 12), heads=3).shape
        torch.Size([2, 3, 5, 4])
    """
    if heads == 1:
        return x.unsqueeze(-3)  # contiguous, where a transposed axis of size 1 would be copied later
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(-3, -2)


def merge_heads(x: Tensor) -> Tensor:
    """Undo ``split_heads``: ``(…, H, T, D)`` → ``(…, T, H·D)``.

    Example:
        >>> import torch
        >>> merge_heads(torch.zeros(2, 3, 5, 4)).shape
        torch.Size([2, 5, 12])
    """
    return x.squeeze(-3) if x.shape[-3] == 1 else x.transpose(-3, -2).flatten(-2)


def expand_to_heads(mask: Tensor, heads: int) -> Tensor:
    """Repeat a mask or index for every head, without a copy: ``(…, T)`` → ``(…, H, T)``."""
    return mask.unsqueeze(-2).expand(*mask.shape[:-1], heads, mask.shape[-1])
