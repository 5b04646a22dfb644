"""Checks of what an engine is given, the same for every engine."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recollect.storages.engine import Engine
from recollect.validation import check_positive


class NewRows(NamedTuple):
    """Rows to be added.

    Attributes:
        keys: ``(W, K)`` float32 on the CPU.
        values: ``(W, V)`` float32 on the CPU.
        sources: W names.
        spaces: ``(W,)`` int64 on the CPU.
    """

    keys: Tensor
    values: Tensor
    sources: list[str]
    spaces: Tensor

    def part(self, start: int, stop: int) -> "NewRows":
        """Return some of the rows."""
        keys, values, spaces = (rows[start:stop] for rows in (self.keys, self.values, self.spaces))
        return NewRows(keys, values, self.sources[start:stop], spaces)


def check_new_rows(
    engine: Engine, keys: Tensor, values: Tensor, sources: str | Sequence[str], space: int | Tensor
) -> NewRows:
    """Check the arguments of ``Engine.add``, and bring them into one form.

    Raises:
        ValueError: If a shape does not fit, a number is not finite in single precision, a space is negative,
            or a source is not text that can be encoded.
    """
    keys = _matrix("keys", keys, engine.key_size)
    values = _matrix("values", values, engine.value_size)
    count = len(keys)
    if len(values) != count:
        raise ValueError(f"{count} keys do not go with {len(values)} values")
    for name, rows in (("keys", keys), ("values", values)):
        if not rows.isfinite().all():
            raise ValueError(f"{name} hold a NaN, an infinity or a number beyond single precision")
    sources = [sources] * count if isinstance(sources, str) else list(sources)
    if len(sources) != count:
        raise ValueError(f"{len(sources)} sources do not go with {count} rows")
    for source in set(sources):
        _check_source(source)
    return NewRows(keys, values, sources, _spaces(space, count))


def check_search(engine: Engine, queries: Tensor, k: int, space: int | Tensor) -> tuple[Tensor, Tensor]:
    """Check the arguments of ``Engine.search``, and return queries and spaces ``(Q,)`` on the CPU.

    Raises:
        ValueError: If a shape does not fit, k is not positive or a space is negative.
    """
    check_positive(k=k)
    queries = _matrix("queries", queries, engine.key_size)
    return queries, _spaces(space, len(queries))


def _matrix(name: str, rows: Tensor, size: int) -> Tensor:
    if rows.dim() != 2 or rows.shape[1] != size:
        raise ValueError(f"{name} must have shape (n, {size}), got {tuple(rows.shape)}")
    return rows.detach().to("cpu", torch.float32).contiguous()


def _check_source(source: str) -> None:
    if not isinstance(source, str):
        raise ValueError(f"a source must be a string, got {source!r}")
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a source must be text that can be encoded, got {source!r}") from error


def _spaces(space: int | Tensor, count: int) -> Tensor:
    spaces = torch.full((count,), space, device="cpu") if isinstance(space, int) else space.detach().cpu()
    if spaces.shape != (count,) or spaces.dtype != torch.int64:
        raise ValueError(
            f"space must be a number or int64 of shape ({count},), got {spaces.dtype} of shape "
            f"{tuple(spaces.shape)}"
        )
    if count and int(spaces.min()) < 0:
        raise ValueError(f"a space must not be negative, got {int(spaces.min())}")
    return spaces
