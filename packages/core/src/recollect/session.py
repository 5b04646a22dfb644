"""Sessions: the state of an augmented model's memories, held by the caller instead of the model.

Each call of an augmented model starts from an empty state and discards it afterwards, unless the call is made
inside ``carry``, whose session takes a state and returns one. Within one call of the model, a layer that runs
several times continues from its own state.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from copy import copy
from typing import Any, final

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo  # torch.compiler.disable imports all of torch._dynamo at once

from recollect.integrations.base import Integration
from recollect.memories.base import Memory
from recollect.state import State, detach_state

_open: ContextVar[tuple[tuple["Session", nn.Module | None], ...]] = ContextVar("recollect_open", default=())
"""The sessions open in this thread, innermost last, each with the model whose call opened it, or ``None``."""

_recomputing: ContextVar[bool] = ContextVar("recollect_recomputing", default=False)
"""Whether activation checkpointing is recomputing a part of the model."""


@final
class AugmentedLayer(nn.Module):
    """An integration in the place of a layer, with the layer's inputs, outputs and attributes.

    It takes the memory's state from the session of the call, and returns it there.

    Args:
        integrated: The layer and its memory.
    """

    def __init__(self, integrated: Integration) -> None:
        super().__init__()
        self.integrated = integrated
        # PyTorch's fused Transformer layers use the weights of their parts without calling them, unless a
        # part has a hook.
        self.register_forward_hook(_no_op_hook)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer with its memory."""
        in_backward = not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
        if in_backward and not _recomputing.get():
            raise RuntimeError(
                "a layer with a memory is recomputed in the backward pass (activation checkpointing), but "
                "its state is gone: pass use_reentrant=False and context_fn=recollect.recomputing to "
                "torch.utils.checkpoint.checkpoint"
            )
        session = _enclosing_session([self])
        if session is None:
            return self.integrated.run(args, kwargs, None, None)[0]
        return session.run(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        """Fall back to the layer's attributes."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "integrated" not in self.__dict__.get("_modules", {}):
                raise
            return getattr(self.integrated.layer, name)


@final
class Session:
    """Calls of one model that continue from one another.

    Attributes:
        state: State of each memory that has been used, by the name of its layer: plain tensors in named
            tuples, which ``torch.save`` saves and ``torch.load(weights_only=True)`` loads.
        mask: ``(B, T)`` bool; the memories ignore steps where it is false, in every call.
    """

    def __init__(self, model: nn.Module, state: Mapping[str, State] | None, mask: Tensor | None) -> None:
        self.layer_names = {layer: name for name, layer in augmented_layers(model).items()}
        self.state: dict[str, State] = dict(state or {})
        self.mask = mask
        if unknown := self.state.keys() - set(self.layer_names.values()):
            raise ValueError(
                f"no layer {', '.join(sorted(unknown))} has a memory; the layers with a memory are "
                f"{', '.join(self.layer_names.values())}"
            )

    def run(self, layer: AugmentedLayer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a layer with its state, and keep the next state."""
        name = self.layer_names[layer]
        output, self.state[name] = layer.integrated.run(args, kwargs, self.state.get(name), self.mask)
        return output

    def reset(self, where: Tensor) -> None:
        """Reset batch items to the initial state where ``where`` ``(B,)`` is true."""
        memories = self._memories()
        self.state = {name: memories[name].reset(state, where) for name, state in self.state.items()}

    def select(self, index: Tensor) -> None:
        """Select batch items ``index`` ``(B',)``, as beam search does."""
        memories = self._memories()
        self.state = {name: memories[name].select(state, index) for name, state in self.state.items()}

    def detach(self) -> None:
        """Detach the state, for truncated backpropagation through time."""
        self.state = {name: detach_state(state) for name, state in self.state.items()}

    def inspect(self) -> dict[str, dict[str, Tensor]]:
        """Return the figures of each memory's state, by the name of its layer."""
        memories = self._memories()
        return {name: memories[name].inspect(state) for name, state in self.state.items()}

    def _memories(self) -> dict[str, Memory]:
        return {name: layer.integrated.memory for layer, name in self.layer_names.items()}


@contextmanager
def carry(
    model: nn.Module, state: Mapping[str, State] | None = None, mask: Tensor | None = None
) -> Iterator[Session]:
    """Let calls of ``model`` inside the block continue from one another, starting from ``state``.

    Args:
        model: A model that ``augment`` has given memories.
        state: The state of an earlier session; unchanged. Layers that it does not name start from an initial
            state.
        mask: ``(B, T)`` bool; the memories ignore steps where it is false.

    Raises:
        ValueError: If ``state`` names a layer without a memory.

    Example:
        >>> import torch
        >>> from recollect import Seq2SeqMemory, VectorStorage, augment, carry
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
        >>> model = augment(model, at="0", memory=lambda d: Seq2SeqMemory(d, VectorStorage(d, d, slots=9)))
        >>> with carry(model) as session:
        ...     y = model(torch.randn(4, 3, 8))
        >>> session.inspect()["0"]["occupancy"]
        tensor([0.3333, 0.3333, 0.3333, 0.3333])
        >>> with carry(model, session.state) as session:  # continues with three more steps
        ...     y = model(torch.randn(4, 3, 8))
    """
    session = Session(model, state, mask)
    token = _open.set((*_open.get(), (session, None)))
    try:
        yield session
    finally:
        _open.reset(token)


def recomputing() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts for activation checkpointing that restore the states of memories when recomputing.

    Pass it as ``torch.utils.checkpoint.checkpoint(part, x, use_reentrant=False, context_fn=recomputing)``.
    Without it, the backward pass raises an error.

    Example:
        >>> import torch
        >>> from recollect import Seq2SeqMemory, VectorStorage, augment
        >>> from torch.utils.checkpoint import checkpoint
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
        >>> model = augment(model, at="0", memory=lambda d: Seq2SeqMemory(d, VectorStorage(d, d, slots=9)))
        >>> y = checkpoint(model, torch.randn(4, 3, 8), use_reentrant=False, context_fn=recomputing)
        >>> y.sum().backward()
    """
    recompute = _RecomputeContext()
    return _ForwardContext(recompute), recompute


class _RecomputeContext(AbstractContextManager[None]):
    """Recomputes a part with copies of the sessions that were open in the forward pass."""

    def __init__(self) -> None:
        self.sessions: tuple[tuple[Session, nn.Module | None], ...] = ()

    def __enter__(self) -> None:
        entries = tuple((_copy(session), model) for session, model in self.sessions)
        self.tokens = _open.set(entries), _recomputing.set(True)

    def __exit__(self, *error: object) -> None:
        _open.reset(self.tokens[0])
        _recomputing.reset(self.tokens[1])


class _ForwardContext(AbstractContextManager[None]):
    """Computes a part for the first time, and keeps copies of the open sessions."""

    def __init__(self, recompute: _RecomputeContext) -> None:
        self.recompute = recompute

    def __enter__(self) -> None:
        self.recompute.sessions = tuple((_copy(session), model) for session, model in _open.get())

    def __exit__(self, *error: object) -> None:
        pass


def _copy(session: Session) -> Session:
    """Copy a session; states are values, so a shallow copy suffices."""
    other = copy(session)
    other.state = dict(session.state)
    return other


def augmented_layers(model: nn.Module) -> dict[str, AugmentedLayer]:
    """Return the layers of ``model`` that have a memory, by dotted name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, AugmentedLayer)}


def memories_of(model: nn.Module) -> dict[str, Memory]:
    """Return the memories of ``model``, by dotted name, to write, read and erase in a session's state."""
    return {name: layer.integrated.memory for name, layer in augmented_layers(model).items()}


def open_session(model: nn.Module, args: Any) -> None:
    """Forward pre-hook of an augmented model: open a session, unless an outer call or ``carry`` has one."""
    # An interrupted call may have left its session open; never continue from that.
    close_session(model, None, None)
    session = _enclosing_session(augmented_layers(model).values()) or Session(model, None, None)
    _set_open((*_open.get(), (session, model)))


def close_session(model: nn.Module, args: Any, output: Any) -> None:
    """Forward hook of an augmented model: close its session, even if the call failed."""
    entries = _open.get()
    last = next((i for i in reversed(range(len(entries))) if entries[i][1] is model), None)
    if last is not None:
        _set_open(entries[:last])


@_disable_dynamo  # torch.compile cannot trace this; here it breaks the graph without a warning
def _set_open(entries: tuple[tuple[Session, nn.Module | None], ...]) -> None:
    _open.set(entries)


def _enclosing_session(layers: Iterable[AugmentedLayer]) -> Session | None:
    """Return the innermost open session that contains all of ``layers``."""
    layers = set(layers)
    return next(
        (session for session, _ in reversed(_open.get()) if layers <= session.layer_names.keys()), None
    )


def _no_op_hook(module: nn.Module, args: Any, output: Any) -> None:
    """Do nothing; see ``AugmentedLayer``."""
