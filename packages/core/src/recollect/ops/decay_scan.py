"""Presence of entries over T steps, each of which erases a few of them."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.inspection import can_inspect


class Decays(NamedTuple):
    """What all erasures up to each have left of the entry that it erases, by entry and step.

    Attributes:
        mark: ``(…, E)`` int64, increasing: entry · (T + 1) + step.
        kept: ``(…, E)`` in [0, 1].
        steps: Number T of steps.
    """

    mark: Tensor
    kept: Tensor
    steps: int


def decay_scan(entries: Tensor, kept: Tensor, counts: Tensor) -> Decays:
    """Multiply what T steps leave of the entries that they erase, at a cost of E log E for E = T · C.

    Factors of one entry are multiplied in rounds that double the span of each product, so that the gradient
    is exact even where a factor is zero.

    Args:
        entries: ``(…, T, C)`` int64, the entries that each step may erase, each once among those that count.
        kept: ``(…, T, C)`` in [0, 1], the share that the step leaves of them.
        counts: ``(…, T, C)`` bool; a factor where it is false is 1.

    Example:
        >>> entries, kept = torch.tensor([[3], [5], [3]]), torch.tensor([[0.5], [0.0], [0.5]])
        >>> decays = decay_scan(entries, kept, torch.ones_like(entries, dtype=torch.bool))
        >>> kept_until(decays, torch.tensor([3, 3, 3, 5]), torch.tensor([0, 1, 2, 2]))
        tensor([0.5000, 0.5000, 0.2500, 0.0000])
    """
    steps, nowhere = entries.shape[-2], torch.iinfo(torch.int64).max
    time = torch.arange(steps, device=entries.device).unsqueeze(-1)
    mark = (entries * (steps + 1) + time).masked_fill(~counts, nowhere).flatten(-2)
    mark, order = mark.sort(dim=-1)
    product = torch.where(counts, kept, 1).flatten(-2).gather(-1, order)
    entry = (mark // (steps + 1)).masked_fill(mark == nowhere, -1)
    span = 1
    while span < min(steps, product.shape[-1]):
        same = (entry[..., span:] == entry[..., :-span]) & (entry[..., span:] >= 0)
        if can_inspect(same) and not same.any():
            break
        longer = torch.where(same, product[..., span:] * product[..., :-span], product[..., span:])
        product = torch.cat([product[..., :span], longer], -1)
        span *= 2
    return Decays(mark, product, steps)


def kept_until(decays: Decays, entries: Tensor, step: Tensor) -> Tensor:
    """What is left of ``entries`` ``(…, n)`` after ``step`` ``(…, n)``, both int64: ``(…, n)`` in [0, 1]."""
    if not decays.mark.shape[-1]:
        return torch.ones_like(entries, dtype=decays.kept.dtype)
    first = entries * (decays.steps + 1)
    place = torch.searchsorted(decays.mark, (first + step).contiguous(), right=True) - 1
    last = place.clamp_min(0)
    erased = (place >= 0) & (decays.mark.gather(-1, last) >= first)
    return torch.where(erased, decays.kept.gather(-1, last), 1)
