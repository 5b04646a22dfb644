"""States are values: nested named tuples of tensors.

Storages and memories return their state to the caller instead of keeping it. The pure functions below walk
such nested tuples and treat every tensor alike.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from typing_extensions import (
    TypeVar,
)  # typing's has no defaults before Python 3.13; torch depends on this one

State: TypeAlias = tuple[Any, ...]
"""A (named) tuple of tensors with the batch axes first, or of further such tuples."""

S = TypeVar("S", bound=State, default=Any)
C = TypeVar("C", bound=type)


class Read(NamedTuple):
    """The result of reading a storage.

    Attributes:
        value: ``(…, Q, V)`` what was read; zero where nothing was found.
        weights: ``(…, Q, k)`` attention weights over k entries; ``None`` if the storage has no entries.
        slots: ``(…, Q, k)`` int64, the slots of those entries; ``None`` means all slots in order. The slot of
            an entry with weight zero is arbitrary.
    """

    value: Tensor
    weights: Tensor | None
    slots: Tensor | None


class Entries(NamedTuple):
    """The entries of a storage.

    Attributes:
        keys: ``(…, N, K)``.
        values: ``(…, N, V)``.
        filled: ``(…, N)`` presence of each entry in [0, 1]; zero marks a free slot.
    """

    keys: Tensor
    values: Tensor
    filled: Tensor


def register_state(cls: C) -> C:
    """Class decorator for states, so that ``torch.load(weights_only=True)`` and ``torch.compile`` work.

    Example:
        >>> from typing import NamedTuple
        >>> @register_state
        ... class CounterState(NamedTuple):
        ...     count: torch.Tensor
    """
    torch.serialization.add_safe_globals([cls])
    cls._replace = _replace  # type: ignore[attr-defined]
    return cls


def _replace(state: S, **changes: Any) -> S:
    """Replacement for a named tuple's ``_replace`` that calls the class.

    The inherited method calls ``tuple.__new__``. If ``torch.compile`` traces the creation of the state, torch
    2.11 does not know the class of such a tuple, and fails.
    """
    return type(state)(**{**state._asdict(), **changes})  # type: ignore[attr-defined]


def map_state(function: Callable[..., Tensor], state: S, *others: S) -> S:
    """Apply ``function`` to every tensor of ``state`` and the tensors at the same position in ``others``.

    Example:
        >>> one = torch.ones(1)
        >>> map_state(lambda a, b: a + b, (one, (0 * one,)), (one, (one,)))
        (tensor([2.]), (tensor([1.]),))
    """
    items = [
        function(item, *rest) if isinstance(item, Tensor) else map_state(function, item, *rest)
        for item, *rest in zip(state, *others, strict=True)
    ]
    return type(state)(*items) if hasattr(state, "_fields") else type(state)(items)


def first_tensor(state: State) -> Tensor:
    """Return the first tensor of a state."""
    first = state[0]
    return first if isinstance(first, Tensor) else first_tensor(first)


def select_items(state: S, index: Tensor) -> S:
    """Select batch items along the first axis of every tensor.

    Args:
        state: The state.
        index: ``(B',)`` integer or bool.
    """
    if index.dtype == torch.bool:
        return map_state(lambda tensor: tensor[index], state)
    return map_state(lambda tensor: tensor.index_select(0, index.to(tensor.device)), state)


def where_items(where: Tensor, chosen: S, other: S) -> S:
    """Take batch items from ``chosen`` where ``where`` is true and from ``other`` elsewhere.

    Args:
        where: Bool, with the shape of the batch axes.
        chosen: A state.
        other: A state of the same shapes; it determines device and dtype.

    Raises:
        ValueError: If ``where`` is not bool or the batch axes differ.
    """
    if where.dtype != torch.bool:
        raise ValueError(f"where must be bool, got {where.dtype}")

    def pick(a: Tensor, b: Tensor) -> Tensor:
        if a.shape != b.shape:
            raise ValueError(
                f"where has shape {tuple(where.shape)}, which differs from the batch axes: a tensor of the "
                f"state has shape {tuple(b.shape)} instead of {tuple(a.shape)}"
            )
        mask = where.to(b.device).reshape((*where.shape, *[1] * (b.dim() - where.dim())))
        return torch.where(mask, a.to(b.dtype), b)

    return map_state(pick, chosen, other)


def detach_state(state: S) -> S:
    """Detach every tensor of a state, as truncated backpropagation through time does between segments."""
    return map_state(Tensor.detach, state)


def clone_integers(state: S) -> S:
    """Copy the integer tensors of a state, contiguously, so that they can be updated in place."""
    layout = torch.contiguous_format
    return map_state(lambda i: i if i.is_floating_point() else i.clone(memory_format=layout), state)
