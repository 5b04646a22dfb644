"""States are values: nested named tuples of tensors.

Storages and memories return their state to the caller instead of keeping it. The pure functions below walk
such nested tuples and treat every tensor alike. ``PersistentState`` keeps a state on a module.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeAlias, cast, final

import torch
from torch import Tensor, nn
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


@final
class PersistentState(nn.Module, Generic[S]):
    """A state that a module keeps: saved in its ``state_dict``, moved by ``.to()``, replaced as a whole.

    Storages and memories take a state and return one. This module holds a state that outlives a batch. Each
    tensor is a buffer with the name of its field, each nested state a submodule. No method changes the
    tensors that ``get`` has returned, so what a reader holds stays as it was.

    Args:
        state: The first state. Later ones have tensors of the same shapes.
        persistent: Whether the state is part of the ``state_dict``.

    Raises:
        TypeError: If the state holds anything but tensors and states.

    Example:
        >>> from recollect import VectorStorage
        >>> storage = VectorStorage(2, 1, slots=3)
        >>> kept = PersistentState(storage.initial_state())
        >>> kept.set(storage.write(kept.get(), torch.ones(1, 2), torch.ones(1, 1)))
        >>> kept.get().clock, list(kept.state_dict())
        (tensor(1), ['keys', 'values', 'presence', 'usage', 'clock', 'rejected'])
    """

    def __init__(self, state: S, persistent: bool = True) -> None:
        super().__init__()
        self._type = type(state)
        self._names = tuple(getattr(state, "_fields", map(str, range(len(state)))))
        for name, item in zip(self._names, state, strict=True):
            if isinstance(item, Tensor):
                self.register_buffer(name, item.detach().clone(), persistent)
            elif isinstance(item, tuple):
                self.add_module(name, PersistentState(item, persistent))
            else:
                raise TypeError(f"{name} must be a tensor or a state, got {type(item).__name__}")

    def get(self) -> S:
        """Return the state."""
        items: list[Any] = [
            self._buffers[name] if name in self._buffers else cast(PersistentState, self._modules[name]).get()
            for name in self._names
        ]
        return cast(S, self._type(*items) if hasattr(self._type, "_fields") else tuple(items))

    def set(self, state: S) -> None:
        """Replace the state, detached from any graph, on the device and in the dtypes of the old one.

        The tensors become those of the module, which the caller must not change in place afterwards.

        Raises:
            ValueError: If the shapes differ from those of the old state, after a change of capacity for
                instance. The old state is then kept.
        """
        map_state(_check_shape, state, self.get())
        self._replace(state)

    def _replace(self, state: S) -> None:
        for name, item in zip(self._names, state, strict=True):
            if (old := self._buffers.get(name)) is not None:
                self._buffers[name] = item.detach().to(old.device, old.dtype)
            else:
                cast(PersistentState, self._modules[name])._replace(item)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load into copies, since a reader may hold the tensors."""
        for name, old in self._buffers.items():
            if name not in self._non_persistent_buffers_set:
                self._buffers[name] = cast(Tensor, old).clone(memory_format=torch.contiguous_format)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check_shape(new: Tensor, old: Tensor) -> Tensor:
    """Raise if a state cannot replace another."""
    if new.shape != old.shape:
        raise ValueError(
            f"the state has a tensor of shape {tuple(new.shape)} where this module keeps one of shape "
            f"{tuple(old.shape)}: a state can only be replaced by one of the same capacity and batch"
        )
    return new
