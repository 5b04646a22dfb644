"""States are values: nested named tuples of tensors, and nothing else.

Storages and memories hand their state back to the caller instead of keeping it. A few pure functions are
all that such a state needs; they walk nested tuples and treat every tensor alike.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from typing_extensions import TypeVar  # with defaults: plain `Storage` means any state; torch brings it

State: TypeAlias = tuple[Any, ...]
"""A (named) tuple whose items are tensors with the batch axes first, or further such tuples."""

S = TypeVar("S", bound=State, default=Any)
C = TypeVar("C", bound=type)


def register_state(cls: C) -> C:
    """Class decorator: ``torch.load(weights_only=True)`` reads this state class, ``torch.compile`` traces it.

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
    """What a named tuple's own ``_replace`` returns, made by calling the class.

    The inherited one goes through ``tuple.__new__``. For a state that is made while ``torch.compile`` traces,
    torch 2.11 cannot tell the class of such a tuple, and fails.
    """
    return type(state)(**{**state._asdict(), **changes})  # type: ignore[attr-defined]


def map_state(function: Callable[..., Tensor], state: S, *others: S) -> S:
    """Apply ``function`` to every tensor of ``state`` (and to the ones at the same place in ``others``).

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
    """The first tensor of a state."""
    first = state[0]
    return first if isinstance(first, Tensor) else first_tensor(first)


def select_items(state: S, index: Tensor) -> S:
    """Pick items ``index`` (shape ``(B',)``, integer or bool) along the first batch axis of every tensor."""
    if index.dtype == torch.bool:
        return map_state(lambda tensor: tensor[index], state)
    return map_state(lambda tensor: tensor.index_select(0, index.to(tensor.device)), state)


def where_items(where: Tensor, chosen: S, other: S) -> S:
    """``chosen`` for batch items where ``where`` (bool, shape of the batch axes) is true, else ``other``.

    Raises:
        ValueError: If ``where`` is not bool or the states have other batch axes.
    """
    if where.dtype != torch.bool:
        raise ValueError(f"where must be bool, got {where.dtype}")

    def pick(a: Tensor, b: Tensor) -> Tensor:
        if a.shape != b.shape:
            raise ValueError(
                f"where has shape {tuple(where.shape)}, which is not that of the batch axes: a tensor of the "
                f"state has shape {tuple(b.shape)} instead of {tuple(a.shape)}"
            )
        return torch.where(
            where.to(b.device).reshape((*where.shape, *[1] * (b.dim() - where.dim()))), a.to(b.dtype), b
        )

    return map_state(pick, chosen, other)


def detach_state(state: S) -> S:
    """The same state without its history: what truncated back-propagation through time carries on."""
    return map_state(Tensor.detach, state)
