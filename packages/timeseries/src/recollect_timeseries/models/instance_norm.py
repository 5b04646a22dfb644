"""Reversible instance normalisation: each window's own level and spread are taken out, and put back."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Normalize = Literal["none", "last", "mean", "revin"]
EPSILON = 1e-5


class Level(NamedTuple):
    """What was taken out of a window: ``(B, C, 1)`` each."""

    centre: Tensor
    spread: Tensor


def level_of(past: Tensor, normalize: Normalize) -> Level:
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
        return Level(torch.zeros_like(one), one)
    if normalize == "last":
        return Level(past[..., -1:], one)
    mean = past.mean(-1, keepdim=True)
    if normalize == "mean":
        return Level(mean, one)
    if normalize == "revin":
        return Level(mean, (past.var(-1, keepdim=True, correction=0) + EPSILON).sqrt())
    raise ValueError(f"normalize must be one of {', '.join(get_args(Normalize))}, got {normalize!r}")


def take_out(values: Tensor, level: Level) -> Tensor:
    """Values ``(B, C, …)`` relative to the level.

    Example:
        >>> past = torch.tensor([[[1.0, 3.0]]])
        >>> level = level_of(past, "mean")
        >>> take_out(past, level), put_back(take_out(past, level), level)
        (tensor([[[-1.,  1.]]]), tensor([[[1., 3.]]]))
    """
    return (values - level.centre) / level.spread


def put_back(values: Tensor, level: Level) -> Tensor:
    """The inverse of ``take_out``."""
    return values * level.spread + level.centre
