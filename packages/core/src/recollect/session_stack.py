"""The sessions that are open, for each thread and task, while a model runs."""

import inspect
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from copy import copy
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class OpenSession(NamedTuple):
    """A session that is open.

    Attributes:
        session: The ``Session``.
        model: The model whose call opened it; ``None`` for ``carry``.
        generator: The frame of the generator that holds ``carry``, if one does.
        cache: The key-value cache of the call, if it has one.
        past: Number of steps that the cache holds.
        mask: ``(B, T)`` bool, the steps of the model's input that are no padding.
    """

    session: Any
    model: nn.Module | None
    generator: FrameType | None = None
    cache: Any = None
    past: int = 0
    mask: Tensor | None = None


_open: ContextVar[tuple[OpenSession, ...]] = ContextVar("recollect_open", default=())
"""The sessions open in this thread, innermost last."""

_shown: dict[str, tuple[OpenSession, ...]] = {"open": ()}
"""What ``_open`` held when it was last set, in whichever thread, for versions of ``torch.compile`` that
cannot read a context variable. Compiled calls are guarded by it."""

READS_CONTEXT_VARIABLES = torch.__version__ >= "2.14"  # compared as versions, not as text
"""Whether ``torch.compile`` can: before, sessions of several threads must not be open at once around it."""

_traced: list[OpenSession] = []
"""The sessions of the calls that ``torch.compile`` is tracing, which cannot set a context variable."""

_recomputing: ContextVar[bool] = ContextVar("recollect_recomputing", default=False)
"""Whether activation checkpointing is recomputing a part of the model."""


def enclosing(layers: Iterable[nn.Module]) -> OpenSession | None:
    """Return the innermost open session that contains all of ``layers``."""
    layers = list(layers)
    for entry in open_sessions()[::-1]:
        if all(layer in entry.session.layer_names for layer in layers) and is_running(entry.generator):
            return entry
    return None


def push(entry: OpenSession) -> None:
    """Open a session."""
    if torch.compiler.is_compiling():
        _traced.append(entry)
    else:
        _set_open((*open_sessions(), entry))


def open_sessions() -> tuple[OpenSession, ...]:
    """All open sessions, innermost last."""
    if torch.compiler.is_compiling():
        return (*(_open.get() if READS_CONTEXT_VARIABLES else _shown["open"]), *_traced)
    return _open.get()


def _set_open(entries: tuple[OpenSession, ...]) -> None:
    _open.set(entries)
    _shown["open"] = entries


def pop_from(entry: OpenSession) -> None:
    """Close a session and those that were opened after it."""
    index = next(i for i, other in enumerate(open_sessions()) if other is entry)
    if torch.compiler.is_compiling():
        del _traced[index - len(open_sessions()) :]
    else:
        _set_open(open_sessions()[:index])


def remove(entry: OpenSession) -> None:
    """Close a session alone. Those of generators do not close in the order in which they opened."""
    _set_open(tuple(other for other in _open.get() if other is not entry))


def in_recomputation() -> bool:
    """Whether activation checkpointing is recomputing a part of the model."""
    return _recomputing.get()


def generator_frame() -> FrameType | None:
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


def is_running(generator: FrameType | None) -> bool:
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
        self.before, self.token = _open.get(), _recomputing.set(True)
        _set_open(_copies(self.entries))

    def __exit__(self, *error: object) -> None:
        _set_open(self.before)
        _recomputing.reset(self.token)


class _ForwardContext(AbstractContextManager[None]):
    """Computes a part for the first time, and keeps copies of the open sessions."""

    def __init__(self, recompute: _RecomputeContext) -> None:
        self.recompute = recompute

    def __enter__(self) -> None:
        self.recompute.entries = _copies(entry for entry in _open.get() if is_running(entry.generator))

    def __exit__(self, *error: object) -> None:
        pass


def _copies(entries: Iterable[OpenSession]) -> tuple[OpenSession, ...]:
    """Copy sessions; states are values, so shallow copies suffice."""
    return tuple(entry._replace(session=_copy(entry.session), generator=None) for entry in entries)


def _copy(session: Any) -> Any:
    other = copy(session)
    other.state = dict(session.state)
    return other
