"""Reversible instance normalisation: each window's own level and spread are taken out, and put back."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Normalize = Literal["none", "last", "mean", "revin"]
EPSILON = 1e-5


class WindowStatistics(NamedTuple):
    """What was taken out of a window: ``(B, C, 1)`` each."""

    centre: Tensor
    spread: Tensor


def window_statistics(past: Tensor, normalize: Normalize) -> WindowStatistics:
    """The level and spread of each window.

    ``"last"`` subtracts the last value (NLinear, arXiv:2205.13504), ``"mean"`` the mean, ``"revin"`` the
    mean, and divides by the standard deviation (RevIN without its affine map, Kim et al. 2022, ICLR).

    Args:
        past: ``(B, C, L)``.
        normalize: Which of them, or ``"none"``.

    Raises:
        ValueError: If there is no such normalisation.
    """
    one = torch.ones_like(past[..., :1])
    if normalize == "none":
        return WindowStatistics(torch.zeros_like(one), one)
    if normalize == "last":
        return WindowStatistics(past[..., -1:], one)
    mean = past.mean(-1, keepdim=True)
    if normalize == "mean":
        return WindowStatistics(mean, one)
    if normalize == "revin":
        return WindowStatistics(mean, (past.var(-1, keepdim=True, correction=0) + EPSILON).sqrt())
    raise ValueError(f"normalize must be one of {', '.join(get_args(Normalize))}, got {normalize!r}")


def normalize_values(values: Tensor, level: WindowStatistics) -> Tensor:
    """Values ``(B, C, …)`` relative to the level.

    Example:
        >>> past = torch.tensor([[[1.0, 3.0]]])
        >>> level = window_statistics(past, "mean")
        >>> normalize_values(past, level), denormalize_values(normalize_values(past, level), level)
        (tensor([[[-1.,  1.]]]), tensor([[[1., 3.]]]))
    """
    return (values - level.centre) / level.spread


def denormalize_values(values: Tensor, level: WindowStatistics) -> Tensor:
    """The inverse of ``normalize_values``."""
    return values * level.spread + level.centre
