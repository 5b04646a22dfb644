"""Scans of a storage over many steps: one by one, and in blocks that run in parallel."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recollect.state import S

if TYPE_CHECKING:
    from recollect.storages.base import Storage


def stepwise_scan(
    storage: "Storage[S]",
    state: S,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    write_strength: Tensor | None,
    erase_strength: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, S]:
    """Erase, write and read step by step: the reference for every parallel scan; see ``Storage.scan``."""
    reads = [value[..., :0, :]]
    for t in range(query.shape[-2]):
        now = slice(t, t + 1)
        write_t, erase_t, mask_t = (
            row if row is None else row[..., now] for row in (write_strength, erase_strength, mask)
        )
        if erase_t is not None:
            state = storage.erase(state, key[..., now, :], erase_t, mask_t)
        state = storage.write(state, key[..., now, :], value[..., now, :], write_t, mask_t)
        reads.append(storage.read(state, query[..., now, :], mask_t).value)
    return torch.cat(reads[1:] or reads, -2), state


def blockwise_scan(
    scan_block: Callable[..., tuple[Tensor, S]],
    size: int,
    state: S,
    vectors: tuple[Tensor, Tensor, Tensor],
    *rows: Any,
) -> tuple[Tensor, S]:
    """Scan in blocks of ``size`` steps, which bounds the memory that a parallel scan takes.

    Args:
        scan_block: Scans one block: called with a state, vectors and rows.
        size: Number of steps in a block.
        state: The state to start from.
        vectors: Queries, keys and values ``(…, T, *)``.
        *rows: Strengths and mask ``(…, T)`` or ``None``.
    """
    values, outputs = vectors[-1], []
    for start in range(0, values.shape[-2], size):
        now = slice(start, start + size)
        block = [None if row is None else row[..., now] for row in rows]
        output, state = scan_block(state, *(vector[..., now, :] for vector in vectors), *block)
        outputs.append(output)
    return (torch.cat(outputs, -2) if outputs else values[..., :0, :]), state
