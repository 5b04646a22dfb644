"""Scans of a storage over many steps, one by one."""

from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recollect.ops.inspection import is_traced
from recollect.state import S

if TYPE_CHECKING:
    from recollect.storages.base import Storage

FEW = 16
"""Number of steps from which on a scan keeps some of the states between them only."""


class ScanSteps(NamedTuple):
    """The T steps of a scan; see ``Storage.scan``.

    Attributes:
        query: ``(…, T, K)``.
        key: ``(…, T, K)``.
        value: ``(…, T, V)``.
        write_strength: ``(…, T)``, or ``None`` for 1.
        erase_strength: ``(…, T)``, or ``None`` to erase nothing.
        mask: ``(…, T)`` bool, or ``None`` for all steps.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    write_strength: Tensor | None
    erase_strength: Tensor | None
    mask: Tensor | None


def slice_steps(steps: ScanSteps, start: int, stop: int) -> ScanSteps:
    """Return the steps from ``start`` up to ``stop``."""
    vectors = [vector[..., start:stop, :] for vector in steps[:3]]
    rows = [None if row is None else row[..., start:stop] for row in steps[3:]]
    return ScanSteps(*vectors, *rows)


def stepwise_scan(storage: "Storage[S]", state: S, steps: ScanSteps) -> tuple[Tensor, S]:
    """Erase, write and read step by step: the reference for every parallel scan."""
    reads = [steps.value[..., :0, :]]
    for t in range(steps.query.shape[-2]):
        now = slice_steps(steps, t, t + 1)
        if now.erase_strength is not None:
            state = storage.erase(state, now.key, now.erase_strength, now.mask)
        state = storage.write(state, now.key, now.value, now.write_strength, now.mask)
        reads.append(storage.read(state, now.query, now.mask, need_weights=False).value)
    return torch.cat(reads[1:] or reads, -2), state


def blockwise_scan(storage: "Storage[S]", state: S, steps: ScanSteps) -> tuple[Tensor, S]:
    """Run ``stepwise_scan`` in √T blocks of √T steps, which are computed again in the backward pass.

    Autograd then keeps the states between blocks and, for one block at a time, those between its steps: about
    2 √T states instead of T (Chen et al. 2016, arXiv:1604.06174).
    """
    count = steps.query.shape[-2]
    if count < FEW or not torch.is_grad_enabled() or is_traced(steps.query):
        return stepwise_scan(storage, state, steps)
    outputs, size = [], isqrt(count - 1) + 1
    for first in range(0, count, size):
        block = slice_steps(steps, first, first + size)
        output, state = checkpoint(
            stepwise_scan, storage, state, block, use_reentrant=False, preserve_rng_state=False
        )
        outputs.append(output)
    return torch.cat(outputs, -2), state
