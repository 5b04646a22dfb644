"""What the checks of engines share: a maker of engines, random rows and a scan of everything."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from recollect.ops.distance import Metric
from recollect.storages.engine import Engine, Rows

EngineMaker: TypeAlias = Callable[[Metric], Engine]
"""Makes a new, empty engine of a metric, with keys of width 4 or more."""


def new_rows(engine: Engine, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random keys ``(count, K)`` and values ``(count, V)``."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(count, engine.key_size, generator=generator)
    return keys, torch.randn(count, engine.value_size, generator=generator)


def scan(
    engine: Engine, sources: Sequence[str] | None = None, space: int | None = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers, keys and values of all rows."""
    nothing = Rows(torch.empty(0, engine.key_size), torch.empty(0, engine.value_size), [])
    blocks = [nothing, *engine.scan(sources, space)]
    numbers = torch.tensor([o.row for block in blocks for o in block.origins], dtype=torch.int64)
    return numbers, torch.cat([block.keys for block in blocks]), torch.cat([block.values for block in blocks])


def assert_empty_rows_are_zero(rows: Tensor, keys: Tensor, values: Tensor) -> None:
    """Assert that keys and values are zero where there is no row."""
    assert not keys[rows < 0].any(), "where there is no row, all is zero"
    assert not values[rows < 0].any(), "where there is no row, all is zero"


def assert_refused(call: Callable[[], object], what: str = "another model") -> str:
    """Assert that a call raises a ``ValueError``, and return its message."""
    try:
        call()
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{what}: taken without a ValueError")
