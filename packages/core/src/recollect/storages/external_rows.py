"""Rows of one space of an engine, looked up for eviction and erasure."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recollect.ops.attention import similarity
from recollect.storages.engine import Engine, Rows

COMPARED = 1 << 22
"""Pairs of keys that are compared at once."""

SCANNED = 1 << 16
"""Rows that are read at once."""


def oldest_rows(engine: Engine, space: int, count: int | None = None) -> Tensor:
    """Numbers of the first ``count`` rows of a space, by default of all: ``(n,)`` int64."""
    found: list[Tensor] = []
    left = count
    for rows in engine.scan(space=space, size=SCANNED if count is None else min(count, SCANNED)):
        found.append(_numbers(rows)[:left])
        if left is not None and (left := left - len(found[-1])) <= 0:
            break
    return torch.cat(found) if found else torch.empty(0, dtype=torch.int64, device="cpu")


def matching_rows(engine: Engine, space: int, keys: Tensor, least: float) -> Tensor:
    """Numbers ``(n,)`` int64 of all rows of a space with a cosine of at least ``least`` to a given key.

    The search is exact: it compares every row, where an index might miss one that has to be erased.

    Args:
        engine: Where the rows live.
        space: The space to look in.
        keys: ``(E, K)``.
        least: The cosine.
    """
    found = [torch.empty(0, dtype=torch.int64, device="cpu")]
    keys = keys.to(torch.float64)
    for rows in engine.scan(space=space, size=max(1, min(SCANNED, COMPARED // len(keys)))):
        cosine = similarity(keys, rows.keys.to(torch.float64), "cosine")  # (E, n)
        found.append(_numbers(rows)[(cosine >= least).any(0)])
    return torch.cat(found)


def pick_sources(sources: str | Sequence[str], index: Tensor) -> str | list[str]:
    """Return the sources at ``index``, integers of any shape; one source for all rows stays one."""
    return sources if isinstance(sources, str) else [sources[n] for n in index.flatten().tolist()]


def _numbers(rows: Rows) -> Tensor:
    return torch.tensor([origin.row for origin in rows.origins], dtype=torch.int64, device="cpu")
