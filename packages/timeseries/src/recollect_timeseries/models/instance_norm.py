"""Reversible instance normalisation of windows."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Normalize = Literal["none", "last", "mean", "revin"]
EPSILON = 1e-5


class WindowStatistics(NamedTuple):
    """Location and scale of a window, ``(B, C, 1)`` each."""

    centre: Tensor
    spread: Tensor


def window_statistics(past: Tensor, normalize: Normalize) -> WindowStatistics:
    """Return the statistics that normalise each window.

    ``"last"`` subtracts the last value (NLinear, arXiv:2205.13504), ``"mean"`` the mean, ``"revin"`` the
    mean, and divides by the standard deviation (RevIN without its affine map, Kim et al. 2022, ICLR).

    Args:
        past: ``(B, C, L)``.
        normalize: Kind of normalisation.

    Raises:
        ValueError: If the kind is unknown.
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
    """Normalise values ``(B, C, …)``.

    Example:
        >>> past = torch.tensor([[[1.0, 3.0]]])
        >>> level = window_statistics(past, "mean")
        >>> normalize_values(past, level), denormalize_values(normalize_values(past, level), level)
        (tensor([[[-1.,  1.]]]), tensor([[[1., 3.]]]))
    """
    return (values - level.centre) / level.spread


def denormalize_values(values: Tensor, level: WindowStatistics) -> Tensor:
    """Invert ``normalize_values``."""
    return values * level.spread + level.centre
