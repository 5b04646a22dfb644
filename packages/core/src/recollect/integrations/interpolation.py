"""A memory that predicts beside the output layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.integrations.base import Integration
from recollect.integrations.call import Call, first_output, replace_first
from recollect.integrations.capture import Capture
from recollect.integrations.layout import Layout, Layouts, feature_axis_of
from recollect.integrations.mixture_gate import (
    AdaptiveGate,
    ConstantGate,
    RunningState,
    gate_features,
    model_view,
)
from recollect.memories.base import Memory
from recollect.memories.neighbor import Neighborhood, NeighborMemory
from recollect.ops.mixture import mix_logits, mix_values, running_weights
from recollect.state import State, map_state, select_items, where_items


class Recorded(NamedTuple):
    """A call of the layer without the memory.

    Attributes:
        query: ``(…, D)``.
        mask: ``(…,)`` bool, false at padding; ``None`` if nothing marks any.
        output: ``(…, C)``, what the layer returned.
    """

    query: Tensor
    mask: Tensor | None
    output: Tensor


class LastRead(NamedTuple):
    """The last read of an ``Interpolation``.

    Attributes:
        weight: λ of each query, with the leading axes of the layer's output.
        found: What the memory found.
    """

    weight: Tensor
    found: Neighborhood


@final
class Interpolation(Integration):
    """Stands where the output layer stood: p = (1 − λ) softmax(layer(x)) + λ p_memory(q).

    This is the interpolation of kNN-LM (Khandelwal et al. 2020, arXiv:1911.00172, eq. 3). The layer returns
    logits z, and so does the integration: log p up to the normaliser of z. Where λ is zero, or the memory
    finds nothing, they are z to the bit. For a memory of vectors y = (1 − λ) layer(x) + λ v.

    The query q is the layer's input x, or the input of another part of the model, ``query_at``, of the same
    leading axes. In translation the input of the last feed-forward network was the better key.

    λ is

    - a number: fixed. Choose it on validation data;
    - ``"fitted"``: a number, zero until ``recollect.fit_gate`` has chosen it, τ and k on validation data;
    - ``"adaptive"``: from distances, entropies and agreement, by a small network; see ``AdaptiveGate``;
    - ``"running"``: from how well model and memory have predicted the sequence so far; see
      ``running_weights``. It needs no validation, and over any sequence it loses at most ln 2 nats plus the
      cost of switching against the better of the two. The true class of each step is known one step later:
      it is what the part ``previous_at`` gets, such as the embedding of a language model. Inside ``carry``
      the odds go on from call to call.

    Args:
        layer: The output layer.
        memory: The memory, as wide as the query.
        gate: λ.
        query_at: Dotted name of the part whose input is the query, for use with ``augment``.
        previous_at: Dotted name of the part whose input ``(B, T)`` are the true classes, one step late.
        share: α of a running gate, the share of its weight that each predictor gives to the other.
        in_size: Number of features of x; the memory's width by default.
        out_size: Number of classes, or width of the values.
        layout: Order of the axes of x and of the output; by default features come last.

    Raises:
        ValueError: If an argument is out of range or memory and layer do not fit.

    Example:
        >>> from recollect import Interpolation, NeighborMemory, VectorStorage
        >>> head = nn.Linear(4, 3)
        >>> memory = NeighborMemory(4, VectorStorage(4, 1, slots=8), classes=3)
        >>> integration = Interpolation(head, memory, gate=0.5)
        >>> x = torch.randn(1, 4)
        >>> bool((integration(x)[0] == head(x)).all())  # nothing is remembered yet
        True
        >>> _ = memory.remember(x, torch.tensor([2]))
        >>> bool(integration(x)[0].softmax(-1)[0, 2] > 0.5)
        True
    """

    memory: NeighborMemory

    def __init__(
        self,
        layer: nn.Module,
        memory: Memory,
        gate: float | Literal["fitted", "adaptive", "running"] = "fitted",
        *,
        query_at: str | None = None,
        previous_at: str | None = None,
        share: float = 1e-3,
        in_size: int | None = None,
        out_size: int | None = None,
        layout: Layout | Layouts | None = None,
    ) -> None:
        if not isinstance(memory, NeighborMemory):
            raise ValueError(
                f"Interpolation needs a NeighborMemory, which predicts; got {type(memory).__name__}"
            )
        predicted = memory.classes or memory.storage.value_size
        out_size = predicted if out_size is None else out_size
        super().__init__(layer, memory, in_size=in_size, out_size=out_size, layout=layout)
        if predicted != out_size:
            raise ValueError(f"the memory predicts {predicted} numbers and the layer {out_size}")
        if query_at is None and self.in_size != memory.model_size:
            raise ValueError(
                f"the layer's input has {self.in_size} features and the memory's keys {memory.model_size}: "
                "make the memory as wide as the layer's input, or name a part with query_at"
            )
        if not 0 < share < 0.5:
            raise ValueError(f"share must be between 0 and 0.5, got {share}")
        self.running = gate == "running"
        if self.running and (previous_at is None or memory.classes is None):
            raise ValueError(
                'gate="running" needs a memory of classes, and previous_at, the part whose input are the '
                "true classes one step late (the token embedding of a language model)"
            )
        self.gate = self._made(gate)
        self.share = share
        self.query, self.previous = Capture(query_at), Capture(previous_at)
        # By thread, since several may call the model at once.
        self._last: dict[int, LastRead] = {}
        self._recorded: dict[int, list[Recorded]] = {}

    @staticmethod
    def _made(gate: float | str) -> AdaptiveGate | ConstantGate:
        if gate == "adaptive":
            return AdaptiveGate()
        if isinstance(gate, str) and gate not in ("fitted", "running"):
            raise ValueError(f'gate must be a number, "fitted", "adaptive" or "running", got {gate!r}')
        return ConstantGate(0.0 if isinstance(gate, str) else gate)

    def bind(self, model: nn.Module) -> None:
        """See ``Integration.bind``."""
        for capture in (self.query, self.previous):
            capture.attach(model)

    def unbind(self) -> None:
        """See ``Integration.unbind``."""
        for capture in (self.query, self.previous):
            capture.detach()

    @contextmanager
    def recording(self) -> Iterator[list[Recorded]]:
        """Collect what the layer sees and returns inside the block, where it runs without the memory."""
        calls = self._recorded[get_ident()] = []
        try:
            yield calls
        finally:
            del self._recorded[get_ident()]

    @property
    def last(self) -> LastRead | None:
        """The last read in this thread; ``None`` before the first."""
        return self._last.get(get_ident())

    def combine(self, call: Call, state: State | None, mask: Tensor | None) -> tuple[Any, State]:
        """See ``Integration.combine``."""
        output = call.with_input(call.x)
        h = first_output(output)
        in_axis, out_axis = (_feature_axis(layout) for layout in self.layouts)
        query = (self.query.value if self.query.name else call.x.movedim(in_axis, -1)).detach()
        rows = h.movedim(out_axis, -1)
        if query.dim() == rows.dim() == 3:  # generation may want the last steps only
            query = query[:, -rows.shape[1] :]
        if query.shape[:-1] != rows.shape[:-1] or query.shape[-1] != self.memory.model_size:
            raise ValueError(
                f"queries {tuple(query.shape)} do not go with an output {tuple(h.shape)} and keys of width "
                f"{self.memory.model_size}"
            )
        if self._recorded and get_ident() in self._recorded:
            self._recorded[get_ident()].append(Recorded(query, mask, rows.detach()))
            return output, self.initial_state(*h.shape[:1]) if state is None else state
        found = self.memory.lookup(query if query.dim() > 1 else query.unsqueeze(0))
        if query.dim() == 1:
            found = map_state(lambda tensor: tensor.squeeze(0), found)
        weight, state = self._weight(found, rows, state, mask)
        if not torch.compiler.is_compiling():
            self._last[get_ident()] = LastRead(weight.detach(), map_state(Tensor.detach, found))
        return replace_first(output, self._mixed(rows, found.prediction, weight).movedim(-1, out_axis)), state

    def _mixed(self, rows: Tensor, prediction: Tensor, weight: Tensor) -> Tensor:
        if rows.shape[-1] != prediction.shape[-1]:
            raise ValueError(
                f"the layer has {rows.shape[-1]} outputs and the memory predicts {prediction.shape[-1]}: "
                "give it a memory of its new size"
            )
        mix = mix_values if self.memory.classes is None else mix_logits
        wide = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
        return self.connected(mix(wide, prediction.to(wide.dtype), weight)).to(rows.dtype)

    # --- the weight -----------------------------------------------------------------------------------------

    def _weight(
        self, found: Neighborhood, rows: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        """λ of each query, zero where nothing was found, and the next state."""
        there = (found.weights > 0).any(-1)
        if self.running:
            weight, state = self._running(found.prediction, rows, there, state, mask)
        else:
            model = None if self.memory.classes is None else model_view(rows)
            weight, state = self.gate(gate_features(found, model)), ()
        return torch.where(there, weight, 0.0), state

    def _running(
        self, prediction: Tensor, rows: Tensor, there: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        """λ from the running likelihoods: ``rows`` ``(B, T, C)`` are logits."""
        previous = self.previous.value
        if rows.dim() != 3 or previous.dim() != 2 or previous.shape[0] != rows.shape[0]:
            raise ValueError(
                f"a running gate needs logits (B, T, C) and true classes (B, T), got {tuple(rows.shape)} and "
                f"{tuple(previous.shape)}"
            )
        # Where the memory finds nothing it predicts what the model does.
        log_model = rows.detach().float().log_softmax(-1)
        ratio = torch.where(there.unsqueeze(-1), prediction.log() - log_model, 0.0)  # (B, T, C)
        old = state if state else self.initial_state(len(rows), device=rows.device)
        assert isinstance(old, RunningState)
        steps, item = rows.shape[1], torch.arange(len(rows), device=rows.device)
        # A class was predicted by the last step before it that counts, which an earlier call may have made.
        table = torch.cat([old.log_ratio.unsqueeze(1), ratio], 1)  # (B, 1 + T, C)
        source = torch.arange(steps + 1, device=rows.device).expand(len(rows), -1)
        if mask is not None:
            real = torch.cat([torch.ones_like(mask[:, :1]), mask], 1)
            source = torch.where(real, source, 0).cummax(-1).values
        # The first of the classes; and where only the last steps have logits, the last of them.
        known = torch.cat([previous[:, :1], previous[:, previous.shape[1] - steps + 1 :]], 1)
        evidence, last = table[item.unsqueeze(-1), source[:, :-1], known], table[item, source[:, -1]]
        weights, log_odds = running_weights(evidence, old.log_odds, self.share, mask)
        return weights.to(rows.dtype), RunningState(log_odds, last)

    def select(self, state: State, index: Tensor) -> State:
        """See ``Integration.select``."""
        return select_items(state, index)

    def inspect(self, state: State) -> dict[str, Tensor]:
        """Return the figures of the rows, and ``weight`` ``(B,)``, the running weight of the memory."""
        figures = self.memory.inspect(self.memory.initial_state())
        return figures | {"weight": state.log_odds.sigmoid()} if isinstance(state, RunningState) else figures

    # --- state ----------------------------------------------------------------------------------------------

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the state of a running gate, or none: the memory owns its rows."""
        if not self.running:
            return ()
        device = device or self.memory.log_temperature.device
        ratio = torch.zeros(*batch, self.out_size, device=device)
        return RunningState(torch.zeros(batch, dtype=torch.float64, device=device), ratio)

    def reset(self, state: State, where: Tensor) -> State:
        """See ``Integration.reset``."""
        return where_items(where, self.initial_state(*where.shape, device=where.device), state)


def _feature_axis(layout: Layout | None) -> int:
    return -1 if layout is None else feature_axis_of(layout)
