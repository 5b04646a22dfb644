"""The state of an ``ExternalStorage``: which rows of the engine belong to which batch item."""

from typing import NamedTuple

from torch import Tensor

from recollect.state import register_state


@register_state
class ExternalState(NamedTuple):
    """State of an ``ExternalStorage``: a handle to rows in an engine.

    Attributes:
        space: ``(…,)`` int64, the part of the store that each batch item reads and writes.
        version: ``(…,)`` int64, number of writes and erases made through this state.
        rejected: ``(…,)`` int64, number of rows left out because they were not finite.
    """

    space: Tensor
    version: Tensor
    rejected: Tensor


def whole_strength(strength: Tensor) -> Tensor:
    """Where a strength is 1, on the CPU; all others must be 0."""
    strength = strength.detach().cpu()
    if not ((strength == 0) | (strength == 1)).all():
        odd = strength[(strength != 0) & (strength != 1)][0].item()
        raise ValueError(
            f"a store outside the process keeps a row or does not: strength must be 0 or 1, got {odd:g}"
        )
    return strength == 1


def row_spaces(state: ExternalState, chosen: Tensor) -> int | Tensor:
    """The space of each row of ``(…, n)`` that is chosen; one number if there is but one store."""
    if not state.space.dim():
        return int(state.space)
    return state.space.cpu().unsqueeze(-1).expand(chosen.shape)[chosen]


def each_space(state: ExternalState, chosen: Tensor) -> list[int]:
    """The different spaces of the items ``(…,)`` of which a row of ``(…, n)`` is chosen."""
    return sorted(set(state.space.cpu()[chosen.any(-1)].flatten().tolist()))


def count_change(state: ExternalState, rows: Tensor) -> ExternalState:
    """Count a change of the items ``(…,)`` of which a row of ``(…, n)`` was changed."""
    return state._replace(version=state.version + rows.any(-1).to(state.version.device))
