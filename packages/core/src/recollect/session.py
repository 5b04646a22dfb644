"""Sessions: the state of an augmented model's memories, held by the caller instead of the model.

Each call of an augmented model starts from an empty state and discards it afterwards, unless the call is made
inside ``carry``, whose session takes a state and returns one. Within one call of the model, a layer that runs
several times continues from its own state.
"""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from recollect.generation import find_cache, keep_states, kept_states, past_steps
from recollect.integrations.base import Integration
from recollect.integrations.call import output_items
from recollect.memory_forward import MemoryForward, augmented_layers, memory_forward
from recollect.session_stack import (
    OpenSession,
    enclosing,
    generator_frame,
    open_sessions,
    pop_from,
    push,
    remove,
)
from recollect.state import State, detach_state


@final
class Session:
    """Calls of one model that continue from one another.

    Attributes:
        state: State of each memory that has been used, by the name of its layer: plain tensors in named
            tuples, which ``torch.save`` saves and ``torch.load(weights_only=True)`` loads. Each call makes
            another dictionary.
        mask: ``(B, T)`` bool; the memories ignore steps where it is false, in every call. Steps that come
            after it, as in generation, count.
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
        self, forward: MemoryForward, args: tuple[Any, ...], kwargs: dict[str, Any], entry: OpenSession
    ) -> Any:
        """Call a layer with its state, and keep the next state."""
        name = self.layer_names[forward.layer]
        if not torch.compiler.is_compiling():
            self._runs[name] = self._runs.get(name, 0) + 1
        mask = None if self.mask is None or entry.past >= self.mask.shape[1] else self.mask[:, entry.past :]
        output, state = forward.run(args, kwargs, self.state.get(name), mask, entry.mask)
        self.state = {**self.state, name: state}  # what the caller has taken from the session stays as it is
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
        joined = self._integrations()
        self.state = {name: joined[name].reset(state, where) for name, state in self.state.items()}

    def select(self, index: Tensor) -> None:
        """Select batch items ``index`` ``(B',)``, as beam search and a last, smaller batch do."""
        joined = self._integrations()
        self.state = {name: joined[name].select(state, index) for name, state in self.state.items()}

    def detach(self) -> None:
        """Detach the state, for truncated backpropagation through time."""
        self.state = {name: detach_state(state) for name, state in self.state.items()}

    def inspect(self) -> dict[str, dict[str, Tensor]]:
        """Return the figures of each memory's state, by the name of its layer."""
        joined = self._integrations()
        return {name: joined[name].inspect(state) for name, state in self.state.items()}

    def _integrations(self) -> dict[str, Integration]:
        return {name: memory_forward(layer).integration for layer, name in self.layer_names.items()}


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
    entry = OpenSession(Session(model, state, mask, detach_every), None, generator_frame())
    push(entry)
    try:
        yield entry.session
    finally:
        remove(entry)


# --- the calls of a model -----------------------------------------------------------------------------------


@final
class SessionOpener:
    """Forward pre-hook of an augmented model: open a session, unless an outer call or ``carry`` has one.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        arguments = inspect.signature(model.forward).parameters
        # The attention mask of an encoder and decoder is that of the encoder's input alone.
        self.sees_padding = "attention_mask" in arguments and "decoder_input_ids" not in arguments

    def __call__(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Open a session for a call of the model."""
        # An interrupted call may have left its session open; never continue from that.
        _close(model, None)
        around = enclosing(augmented_layers(model).values()) if open_sessions() else None
        session = Session(model, None, None) if around is None else around.session
        cache = find_cache((*args, *kwargs.values()))
        if cache is not None:
            session.state = kept_states(cache) or session.state
        past = past_steps(cache)
        mask = kwargs.get("attention_mask") if self.sees_padding else None
        mask = mask[:, past:] != 0 if isinstance(mask, Tensor) and mask.dim() == 2 else None
        push(OpenSession(session, model, None, cache, past, mask))


def close_session(model: nn.Module, args: Any, output: Any) -> None:
    """Forward hook of an augmented model: close its session, even if the call failed."""
    _close(model, output)


def _close(model: nn.Module, output: Any) -> None:
    entry = next((entry for entry in open_sessions()[::-1] if entry.model is model), None)
    if entry is None:
        return
    cache = entry.cache
    if cache is None and not isinstance(output, Tensor):
        cache = find_cache(output_items(output).values())
    if cache is not None and output is not None:
        keep_states(cache, entry.session.state)
    pop_from(entry)
    around = [other for other in open_sessions() if other.session is entry.session]
    if all(other.model is None for other in around):
        entry.session.finish_call()
    if not around and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        entry.session.warn_of_unread()
