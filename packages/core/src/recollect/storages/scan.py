"""Scans of a storage over many steps, one by one."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from recollect.state import S

if TYPE_CHECKING:
    from recollect.storages.base import Storage


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
