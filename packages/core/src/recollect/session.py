"""Sessions: the state of an augmented model's memories, held by the caller instead of the model.

Each call of an augmented model starts from an empty state and discards it afterwards, unless the call is made
inside ``carry``, whose session takes a state and returns one. Within one call of the model, a layer that runs
several times continues from its own state.
"""

import inspect
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from copy import copy
from types import FrameType
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.integrations.base import Integration
from recollect.memories.base import Memory
from recollect.state import State, detach_state


class OpenSession(NamedTuple):
    """A session that is open.

    Attributes:
        session: The session.
        model: The model whose call opened it; ``None`` for ``carry``.
        generator: The frame of the generator that holds ``carry``, if one does.
        mask: ``(B, T)`` bool, the steps of the model's input that are no padding.
    """

    session: "Session"
    model: nn.Module | None
    generator: FrameType | None = None
    mask: Tensor | None = None


_open: ContextVar[tuple[OpenSession, ...]] = ContextVar("recollect_open", default=())
"""The sessions open in this thread, innermost last."""

_traced: list[OpenSession] = []
"""The sessions of the calls that ``torch.compile`` is tracing, which cannot set a context variable."""

_recomputing: ContextVar[bool] = ContextVar("recollect_recomputing", default=False)
"""Whether activation checkpointing is recomputing a part of the model."""


@final
class MemoryForward:
    """The ``forward`` of a layer that has a memory; it stands in the layer's ``__dict__``.

    It takes the memory's state from the session of the call, and returns it there.

    Args:
        layer: The layer.
        integration: Its memory; a submodule of the layer, or of a part of it.
    """

    def __init__(self, layer: nn.Module, integration: Integration) -> None:
        self.layer = layer
        self.integration = integration
        self.replaced = layer.__dict__.get("forward")
        self.enabled = True

    @property
    def __wrapped__(self) -> Any:
        """The layer's own forward, whose signature this one has."""
        return self.replaced or type(self.layer).forward.__get__(self.layer)

    def own(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer without its memory."""
        if self.replaced is not None:
            return self.replaced(*args, **kwargs)
        return type(self.layer).forward(self.layer, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer with its memory."""
        if not self.enabled:
            return self.own(*args, **kwargs)
        in_backward = not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
        if in_backward and not _recomputing.get():
            raise RuntimeError(
                "a layer with a memory is recomputed in the backward pass (activation checkpointing), but "
                "its state is gone: pass use_reentrant=False and context_fn=recollect.recomputing to "
                "torch.utils.checkpoint.checkpoint"
            )
        entry = _enclosing([self.layer])
        if entry is None:
            return self.integration.run(self.own, args, kwargs, None, None)[0]
        return entry.session.run(self, args, kwargs, entry.mask)


@final
class Session:
    """Calls of one model that continue from one another.

    Attributes:
        state: State of each memory that has been used, by the name of its layer: plain tensors in named
            tuples, which ``torch.save`` saves and ``torch.load(weights_only=True)`` loads.
        mask: ``(B, T)`` bool; the memories ignore steps where it is false, in every call.
    """

    def __init__(
        self,
        model: nn.Module,
        state: Mapping[str, State] | None,
        mask: Tensor | None,
        detach_every: int | None = None,
    ) -> None:
        self.layer_names = {layer: name for name, layer in augmented_layers(model).items()}
        self.state: dict[str, State] = dict(state or {})
        self.mask = mask
        self.detach_every = detach_every
        self._calls = 0
        self._runs: dict[str, int] = {}
        if unknown := self.state.keys() - set(self.layer_names.values()):
            raise ValueError(
                f"no layer {', '.join(sorted(unknown))} has a memory; the layers with a memory are "
                f"{', '.join(self.layer_names.values())}"
            )

    def run(
        self, forward: MemoryForward, args: tuple[Any, ...], kwargs: dict[str, Any], model_mask: Tensor | None
    ) -> Any:
        """Call a layer with its state, and keep the next state."""
        name = self.layer_names[forward.layer]
        if not torch.compiler.is_compiling():
            self._runs[name] = self._runs.get(name, 0) + 1
        output, self.state[name] = forward.integration.run(
            forward.own, args, kwargs, self.state.get(name), self.mask, model_mask=model_mask
        )
        return output

    def finish_call(self) -> None:
        """Detach the state after every ``detach_every`` calls of the model."""
        if self.detach_every is not None:
            self._calls = (self._calls + 1) % self.detach_every
            if self._calls == 0:
                self.detach()

    def warn_of_unread(self) -> None:
        """Warn, once for each layer, if its memory reads earlier calls only and this session had none."""
        for layer, name in self.layer_names.items():
            integration = memory_forward(layer).integration
            if self._runs.get(name) != 1 or not integration.reads_earlier_calls or integration.warned:
                continue
            integration.warned = True
            memory = integration.memory
            occupancy = memory.inspect(memory.initial_state(1)).get("occupancy")
            if occupancy is None or not occupancy.any():
                warnings.warn(
                    f"{name}: {type(integration).__name__} reads what earlier calls have written, but each "
                    "call outside recollect.carry starts from an empty memory, so that nothing is read or "
                    "learned; call the model inside carry, or use Concatenation or Parallel",
                    stacklevel=2,
                )

    def reset(self, where: Tensor) -> None:
        """Reset batch items to the initial state where ``where`` ``(B,)`` is true."""
        memories = self._memories()
        self.state = {name: memories[name].reset(state, where) for name, state in self.state.items()}

    def select(self, index: Tensor) -> None:
        """Select batch items ``index`` ``(B',)``, as beam search and a last, smaller batch do."""
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
        return {name: memory_forward(layer).integration.memory for layer, name in self.layer_names.items()}


@contextmanager
def carry(
    model: nn.Module,
    state: Mapping[str, State] | None = None,
    mask: Tensor | None = None,
    detach_every: int | None = None,
) -> Iterator[Session]:
    """Let calls of ``model`` inside the block continue from one another, starting from ``state``.

    A generator that opens a session has it to itself: while it is suspended, the session does not apply to
    other calls.

    Args:
        model: A model that ``augment`` has given memories.
        state: The state of an earlier session; unchanged. Layers that it does not name start from an initial
            state.
        mask: ``(B, T)`` bool; the memories ignore steps where it is false.
        detach_every: Detach the state after every so many calls of the model, for truncated backpropagation
            through time.

    Raises:
        ValueError: If ``state`` names a layer without a memory, or an argument is out of range.

    Example:
        >>> import torch
        >>> from recollect import Seq2SeqMemory, VectorStorage, augment, carry
        >>> x = torch.randn(4, 3, 8)
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.GRU(8, 2, batch_first=True))
        >>> def memory(d):
        ...     return Seq2SeqMemory(d, VectorStorage(d, d, slots=9), write_on_forward=True)
        >>> model = augment(model, at="0", memory=memory, example=x)
        >>> with carry(model) as session:
        ...     y = model(x)
        >>> session.inspect()["0"]["occupancy"]
        tensor([0.3333, 0.3333, 0.3333, 0.3333])
        >>> with carry(model, session.state) as session:  # continues with three more steps
        ...     y = model(x)
    """
    if detach_every is not None and detach_every < 1:
        raise ValueError(f"detach_every must be at least 1, got {detach_every}")
    entry = OpenSession(Session(model, state, mask, detach_every), None, _generator_frame())
    _open.set((*_open.get(), entry))
    try:
        yield entry.session
    finally:
        # Sessions of generators do not close in the order in which they opened.
        _open.set(tuple(other for other in _open.get() if other is not entry))


def _generator_frame() -> FrameType | None:
    """The frame of the innermost generator that runs and holds ``carry``, if any."""
    frame = sys._getframe(2)  # the caller of this function is the generator of ``carry`` itself
    generators = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
    while frame is not None:
        by = frame.f_back
        # Context managers made of generators hand their session on to the block that they manage.
        manages = by is not None and by.f_code.co_name in ("__enter__", "__aenter__")
        if frame.f_code.co_flags & generators and not manages:
            return frame
        frame = by  # type: ignore[assignment]
    return None


def _is_running(generator: FrameType | None) -> bool:
    """Whether the code of a generator is being executed, or there is none."""
    if generator is None or torch.compiler.is_compiling():
        return True
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame is not generator:
        frame = frame.f_back
    return frame is not None


def recomputing() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts for activation checkpointing that restore the states of memories when recomputing.

    Pass it as ``torch.utils.checkpoint.checkpoint(part, x, use_reentrant=False, context_fn=recomputing)``.
    Without it, the backward pass raises an error.

    Example:
        >>> import torch
        >>> from recollect import Seq2SeqMemory, VectorStorage, augment
        >>> from torch.utils.checkpoint import checkpoint
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
        >>> model = augment(
        ...     model, at="0", memory=lambda d: Seq2SeqMemory(d, VectorStorage(d, d, slots=9)), layout="btd"
        ... )
        >>> y = checkpoint(model, torch.randn(4, 3, 8), use_reentrant=False, context_fn=recomputing)
        >>> y.sum().backward()
    """
    recompute = _RecomputeContext()
    return _ForwardContext(recompute), recompute


class _RecomputeContext(AbstractContextManager[None]):
    """Recomputes a part with copies of the sessions that were open in the forward pass."""

    def __init__(self) -> None:
        self.entries: tuple[OpenSession, ...] = ()

    def __enter__(self) -> None:
        self.tokens = _open.set(_copies(self.entries)), _recomputing.set(True)

    def __exit__(self, *error: object) -> None:
        _open.reset(self.tokens[0])
        _recomputing.reset(self.tokens[1])


class _ForwardContext(AbstractContextManager[None]):
    """Computes a part for the first time, and keeps copies of the open sessions."""

    def __init__(self, recompute: _RecomputeContext) -> None:
        self.recompute = recompute

    def __enter__(self) -> None:
        self.recompute.entries = _copies(entry for entry in _open.get() if _is_running(entry.generator))

    def __exit__(self, *error: object) -> None:
        pass


def _copies(entries: Iterable[OpenSession]) -> tuple[OpenSession, ...]:
    """Copy sessions; states are values, so shallow copies suffice."""
    return tuple(entry._replace(session=_copy(entry.session), generator=None) for entry in entries)


def _copy(session: Session) -> Session:
    other = copy(session)
    other.state = dict(session.state)
    return other


# --- the layers of a model that have a memory ---------------------------------------------------------------


def memory_forward(layer: nn.Module) -> MemoryForward:
    """Return the ``MemoryForward`` of a layer with a memory."""
    forward: MemoryForward = layer.__dict__["forward"]
    return forward


def augmented_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of ``model`` that have a memory, by dotted name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer.__dict__.get("forward"), MemoryForward)
    }


def memories_of(model: nn.Module) -> dict[str, Memory]:
    """Return the memories of ``model``, by dotted name, to write, read and erase in a session's state."""
    return {name: memory_forward(layer).integration.memory for name, layer in augmented_layers(model).items()}


# --- the calls of a model -----------------------------------------------------------------------------------


def open_session(model: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
    """Forward pre-hook of an augmented model: open a session, unless an outer call or ``carry`` has one."""
    # An interrupted call may have left its session open; never continue from that.
    _close(model)
    entry = _enclosing(augmented_layers(model).values()) if _open.get() or _traced else None
    session = Session(model, None, None) if entry is None else entry.session
    opened = OpenSession(session, model)
    if torch.compiler.is_compiling():
        _traced.append(opened)
    else:
        _open.set((*_open.get(), opened))


def close_session(model: nn.Module, args: Any, output: Any) -> None:
    """Forward hook of an augmented model: close its session, even if the call failed."""
    _close(model)


def _close(model: nn.Module) -> None:
    compiling = torch.compiler.is_compiling()
    entries = (*_open.get(), *_traced) if compiling else _open.get()
    last = next((i for i in reversed(range(len(entries))) if entries[i].model is model), None)
    if last is None:
        return
    session, below = entries[last].session, entries[:last]
    around = [entry for entry in below if entry.session is session]
    if all(entry.model is None for entry in around):
        session.finish_call()
    if compiling:
        del _traced[last - len(entries) :]
        return
    _open.set(below)
    if not around and torch.is_grad_enabled():
        session.warn_of_unread()


def _enclosing(layers: Iterable[nn.Module]) -> OpenSession | None:
    """Return the innermost open session that contains all of ``layers``."""
    layers = set(layers)
    entries = (*_open.get(), *_traced) if torch.compiler.is_compiling() else _open.get()
    for entry in reversed(entries):
        if layers <= entry.session.layer_names.keys() and _is_running(entry.generator):
            return entry
    return None
