"""What an augmented model remembers: carried by the caller, never by the model.

Each call of an augmented model starts from nothing and leaves nothing behind, unless it is made inside
``carry``, whose session takes a state in and gives a state out. Within one call of the model, a layer that
runs several times goes on from where it was.
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
"""The sessions open in this thread, innermost last, each with the model whose call opened it, if one did."""

_recomputing: ContextVar[bool] = ContextVar("recollect_recomputing", default=False)
"""Whether a part of the model is being computed again, from the states that it had."""


@final
class Placed(nn.Module):
    """An integration in a layer's place: takes and returns what the layer does.

    The memory's state comes from the session of the call and goes back there. Other attributes are the
    layer's.

    Args:
        integrated: The layer and its memory.
    """

    def __init__(self, integrated: Integration) -> None:
        super().__init__()
        self.integrated = integrated
        # PyTorch's fused Transformer layers take the weights of their parts and skip the parts themselves,
        # unless one of these has a hook.
        self.register_forward_hook(_nothing)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's own call."""
        in_backward = not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
        if in_backward and not _recomputing.get():
            raise RuntimeError(
                "a layer with a memory is computed again in the backward pass (activation checkpointing), "
                "and the state that it had is gone: pass use_reentrant=False and "
                "context_fn=recollect.recomputing to torch.utils.checkpoint.checkpoint"
            )
        session = _around([self])
        if session is None:
            return self.integrated.run(args, kwargs, None, None)[0]
        return session.run(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        """What is not found here is looked for in the layer."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "integrated" not in self.__dict__.get("_modules", {}):
                raise
            return getattr(self.integrated.layer, name)


@final
class Session:
    """The calls of one model that go on from one another.

    Attributes:
        state: By the name of each place that has been reached, the state of its memory: plain tensors in
            named tuples, which ``torch.save`` saves and ``torch.load(weights_only=True)`` reads.
        mask: ``(B, T)`` bool; steps where it is false are kept from the memories, in every call.
    """

    def __init__(self, model: nn.Module, state: Mapping[str, State] | None, mask: Tensor | None) -> None:
        self.places = {place: name for name, place in places(model).items()}
        self.state: dict[str, State] = dict(state or {})
        self.mask = mask
        if unknown := self.state.keys() - set(self.places.values()):
            raise ValueError(
                f"no memory stands at {', '.join(sorted(unknown))}; the places are "
                f"{', '.join(self.places.values())}"
            )

    def run(self, place: Placed, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One call of a layer, from its state to its state."""
        name = self.places[place]
        output, self.state[name] = place.integrated.run(args, kwargs, self.state.get(name), self.mask)
        return output

    def reset(self, where: Tensor) -> None:
        """Batch items where ``where`` ``(B,)`` is true start afresh."""
        memories = self._memories()
        self.state = {name: memories[name].reset(state, where) for name, state in self.state.items()}

    def select(self, index: Tensor) -> None:
        """Go on with batch items ``index`` ``(B',)``, in that order: beam search, shuffling."""
        memories = self._memories()
        self.state = {name: memories[name].select(state, index) for name, state in self.state.items()}

    def detach(self) -> None:
        """Forget how the state came about: truncated back-propagation through time."""
        self.state = {name: detach_state(state) for name, state in self.state.items()}

    def inspect(self) -> dict[str, dict[str, Tensor]]:
        """What each memory says of its state, by place."""
        memories = self._memories()
        return {name: memories[name].inspect(state) for name, state in self.state.items()}

    def _memories(self) -> dict[str, Memory]:
        return {name: place.integrated.memory for place, name in self.places.items()}


@contextmanager
def carry(
    model: nn.Module, state: Mapping[str, State] | None = None, mask: Tensor | None = None
) -> Iterator[Session]:
    """Calls of ``model`` inside the block go on from one another, beginning with ``state``.

    Args:
        model: A model that ``augment`` has given memories.
        state: A session's state, from before or from a file; unchanged. Places that it does not name begin
            with an initial state.
        mask: ``(B, T)`` bool; steps where it is false are kept from the memories.

    Raises:
        ValueError: If ``state`` names a place where no memory stands.

    Example:
        >>> import torch
        >>> from recollect import Seq2SeqMemory, VectorStorage, augment, carry
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
        >>> model = augment(model, at="0", memory=lambda d: Seq2SeqMemory(d, VectorStorage(d, d, slots=9)))
        >>> with carry(model) as session:
        ...     y = model(torch.randn(4, 3, 8))
        >>> session.inspect()["0"]["occupancy"]
        tensor([0.3333, 0.3333, 0.3333, 0.3333])
        >>> with carry(model, session.state) as session:  # three steps are remembered, three more come
        ...     y = model(torch.randn(4, 3, 8))
    """
    session = Session(model, state, mask)
    token = _open.set((*_open.get(), (session, None)))
    try:
        yield session
    finally:
        _open.reset(token)


def recomputing() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For activation checkpointing: a part of the model is computed again from the states that it had.

    Pass it to ``torch.utils.checkpoint.checkpoint(part, x, use_reentrant=False, context_fn=recomputing)``
    where ``part`` has a memory. Without it, the backward pass says that it is wanting.

    Example:
        >>> import torch
        >>> from recollect import Seq2SeqMemory, VectorStorage, augment
        >>> from torch.utils.checkpoint import checkpoint
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
        >>> model = augment(model, at="0", memory=lambda d: Seq2SeqMemory(d, VectorStorage(d, d, slots=9)))
        >>> y = checkpoint(model, torch.randn(4, 3, 8), use_reentrant=False, context_fn=recomputing)
        >>> y.sum().backward()
    """
    again = _Again()
    return _Before(again), again


class _Again(AbstractContextManager[None]):
    """Where a part is computed again: the sessions are those that were open before, as often as it is."""

    def __init__(self) -> None:
        self.before: tuple[tuple[Session, nn.Module | None], ...] = ()

    def __enter__(self) -> None:
        entries = tuple((_copy(session), model) for session, model in self.before)
        self.tokens = _open.set(entries), _recomputing.set(True)

    def __exit__(self, *error: object) -> None:
        _open.reset(self.tokens[0])
        _recomputing.reset(self.tokens[1])


class _Before(AbstractContextManager[None]):
    """Where a part is computed for the first time."""

    def __init__(self, again: _Again) -> None:
        self.again = again

    def __enter__(self) -> None:
        self.again.before = tuple((_copy(session), model) for session, model in _open.get())

    def __exit__(self, *error: object) -> None:
        pass


def _copy(session: Session) -> Session:
    """One that goes on apart from ``session``; states are values, so that to keep them is to name them."""
    other = copy(session)
    other.state = dict(session.state)
    return other


def places(model: nn.Module) -> dict[str, Placed]:
    """Where ``model`` has memories, by dotted name."""
    return {name: place for name, place in model.named_modules() if isinstance(place, Placed)}


def memories_of(model: nn.Module) -> dict[str, Memory]:
    """The memories of ``model``, by dotted name: to write, read and erase in a session's state by hand."""
    return {name: place.integrated.memory for name, place in places(model).items()}


def open_call(model: nn.Module, args: Any) -> None:
    """Before each call of an augmented model: a session of its own, unless it is part of a greater call."""
    # A call that was interrupted may have left its session behind: never go on from that.
    close_call(model, None, None)
    session = _around(places(model).values()) or Session(model, None, None)
    _set_open((*_open.get(), (session, model)))


def close_call(model: nn.Module, args: Any, output: Any) -> None:
    """After each call of an augmented model, also when it fails."""
    entries = _open.get()
    last = next((i for i in reversed(range(len(entries))) if entries[i][1] is model), None)
    if last is not None:
        _set_open(entries[:last])


@_disable_dynamo  # no torch.compile can trace this; here it breaks the graph without a warning
def _set_open(entries: tuple[tuple[Session, nn.Module | None], ...]) -> None:
    _open.set(entries)


def _around(these: Iterable[Placed]) -> Session | None:
    """The innermost open session that all of ``these`` belong to."""
    these = set(these)
    return next((session for session, _ in reversed(_open.get()) if these <= session.places.keys()), None)


def _nothing(module: nn.Module, args: Any, output: Any) -> None:
    """A hook that does nothing but be there."""
