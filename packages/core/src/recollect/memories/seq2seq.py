"""The decoder of sequence-to-sequence models: a recurrent cell that reads a memory at every step."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.memories.seq2seq_recurrence import can_fuse, run_fused, softmax_read
from recollect.ops.cached_attention import SoftmaxRead
from recollect.ops.masking import apply_mask, full_mask
from recollect.ops.recurrence import gru_cell, lstm_cell
from recollect.state import Read, register_state
from recollect.storages.base import Storage
from recollect.validation import finite_rows


@register_state
class Seq2SeqState(NamedTuple):
    """State of a ``Seq2SeqMemory``.

    Attributes:
        storage: State of the storage.
        hidden: ``(…, D)``, hidden state h of the cell.
        cell: ``(…, D)``, cell state of an LSTM; ``(…, 0)`` for a GRU.
        context: ``(…, V)``, the last read c.
    """

    storage: Any
    hidden: Tensor
    cell: Tensor
    context: Tensor


@final
class Seq2SeqMemory(Memory[Seq2SeqState]):
    """A recurrent decoder with attention and input feeding.

    h_t = f([x_t; c_{t−1}], h_{t−1}); c_t = Attention(W_q h_t, storage); y_t = tanh(W_c [c_t; h_t]).

    f is a GRU or LSTM cell that takes the last context as input, as in Bahdanau et al. 2015
    (arXiv:1409.0473, A.2.2). The output is the attentional state of Luong et al. 2015 (arXiv:1508.04025,
    eq. 5), which has no bias. The storage defines the score; with the dot product it is Luong's "general"
    score.

    ``write`` stores the states of an encoder, with keys W_k x and values W_v x. To start from an encoder's
    summary, replace ``hidden`` in the state.

    Args:
        model_size: Width D of input, output and hidden state.
        storage: A storage whose keys are real vectors.
        cell: ``"gru"`` or ``"lstm"``.
        write_on_forward: Let ``forward`` write x_t, as ``write`` does, before it reads at step t.

    Raises:
        ValueError: If an argument is out of range, or the storage's keys are integers.

    Example:
        >>> from recollect import Seq2SeqMemory, VectorStorage
        >>> decoder = Seq2SeqMemory(8, VectorStorage(8, 8, slots=5, similarity="dot"))
        >>> state = decoder.write(decoder.initial_state(2), torch.randn(2, 5, 8))  # five source positions
        >>> y, state = decoder(torch.randn(2, 3, 8), state)  # three target positions
        >>> y.shape
        torch.Size([2, 3, 8])
    """

    forward_only = ("gates_input", "gates_context", "gates_hidden")

    def __init__(
        self,
        model_size: int,
        storage: Storage,
        cell: Literal["gru", "lstm"] = "gru",
        write_on_forward: bool = False,
    ) -> None:
        super().__init__(model_size, storage, write_on_forward)
        if cell not in ("gru", "lstm"):
            raise ValueError(f'cell must be "gru" or "lstm", got {cell!r}')
        self.cell = cell
        self.key_proj = nn.Linear(model_size, storage.key_size, bias=False)
        self.value_proj = nn.Linear(model_size, storage.value_size, bias=False)
        self.query_proj = nn.Linear(model_size, storage.key_size, bias=False)
        # Gates: reset, update, candidate for a GRU; input, forget, output, candidate for an LSTM.
        gates = (3 if cell == "gru" else 4) * model_size
        self.gates_input = nn.Linear(model_size, gates)
        self.gates_context = nn.Linear(storage.value_size, gates, bias=False)
        # A GRU multiplies W h + b by its reset gate, so that b cannot be merged with the input's bias.
        self.gates_hidden = nn.Linear(model_size, gates, bias=cell == "gru")
        self.out_proj = nn.Linear(storage.value_size + model_size, model_size, bias=False)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Seq2SeqState:
        """Return an empty storage and zero hidden state, cell state and context."""
        weight = self.query_proj.weight
        new: dict[str, Any] = {"device": device or weight.device, "dtype": dtype or weight.dtype}
        return Seq2SeqState(
            storage=self.storage.initial_state(*batch, **new),
            hidden=torch.zeros(*batch, self.model_size, **new),
            cell=torch.zeros(*batch, self.model_size if self.cell == "lstm" else 0, **new),
            context=torch.zeros(*batch, self.storage.value_size, **new),
        )

    def forward(
        self, x: Tensor, state: Seq2SeqState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Seq2SeqState]:
        """Run T steps of the recurrence; see ``Memory.forward``.

        What does not depend on the previous step is computed for all T steps at once. If the storage reads by
        softmax attention over all entries, and is a ring where the steps write to it, the rest is one
        operation with a gradient of its own, in float32 or wider; see ``attentive_recurrence``.

        With ``write_on_forward`` a step that holds a NaN or an infinity raises a ``ValueError`` on CPU. On
        other devices it is left out like a masked one.
        """
        if state is None:
            state = self.initial_state(*x.shape[:-2], device=x.device)
        if mask is not None:
            x = apply_mask(x, full_mask(x, mask))
        if x.shape[-2] == 0:
            return x, state
        if self.write_on_forward:  # a step that cannot be stored must not reach the hidden state either
            finite, rejected = finite_rows(full_mask(x, mask), x=x)
            if rejected is not None:
                mask, x = finite, apply_mask(x, finite)
                state = state._replace(storage=self.storage._reject(state.storage, rejected))
        read = softmax_read(self, state) if can_fuse(self, state) else None
        y, state = self._stepwise(x, state, mask) if read is None else self._fused(x, state, mask, read)
        return (y if mask is None else apply_mask(y, mask)), state

    def _fused(
        self, x: Tensor, state: Seq2SeqState, mask: Tensor | None, read: SoftmaxRead
    ) -> tuple[Tensor, Seq2SeqState]:
        """Run all steps as one operation."""
        written = (self.key_proj(x), self.value_proj(x)) if self.write_on_forward else None
        run = run_fused(self, x, state, mask, read, written)
        store = state.storage if written is None else self.storage.write(state.storage, *written, mask=mask)
        return run.in_order(self._output(run.states, x.dtype), x.shape[:-2]), Seq2SeqState(store, *run.last)

    def _stepwise(self, x: Tensor, state: Seq2SeqState, mask: Tensor | None) -> tuple[Tensor, Seq2SeqState]:
        """Run the steps one by one, with any storage; the reference for ``_fused``."""
        reader = None if self.write_on_forward else self.storage.reader(state.storage)
        keys, values = (self.key_proj(x), self.value_proj(x)) if self.write_on_forward else (x, x)
        store, hidden, cell, context = state
        states = []
        for t, gates in enumerate(self.gates_input(x).unbind(-2)):
            now = slice(t, t + 1)
            mask_t = None if mask is None else mask[..., now]
            if self.write_on_forward:
                store = self.storage.write(store, keys[..., now, :], values[..., now, :], mask=mask_t)
                reader = self.storage.reader(store)
            assert reader is not None
            before = hidden, cell, context
            hidden, cell, context = self._step(gates, *before, reader, mask_t)
            if mask_t is not None:
                after = hidden, cell, context
                hidden, cell, context = (
                    torch.where(mask_t, new, old) for new, old in zip(after, before, strict=True)
                )
            states.append(torch.cat([context, hidden], -1))
        y = self._output(torch.stack(states, -2), x.dtype)
        return y, Seq2SeqState(store, hidden, cell, context)

    def _output(self, states: Tensor, dtype: torch.dtype) -> Tensor:
        """The output, given context and hidden state ``(…, V + D)``."""
        output: Tensor = self.out_proj(states.to(dtype))
        return output.tanh()

    def _step(
        self,
        gates: Tensor,
        hidden: Tensor,
        cell: Tensor,
        context: Tensor,
        reader: Callable[..., Read],
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one step, and return the hidden state, cell state and context after it."""
        gates = gates + self.gates_context(context)
        if self.cell == "gru":
            hidden = gru_cell(gates, self.gates_hidden(hidden), hidden)
        else:
            hidden, cell = lstm_cell(gates + self.gates_hidden(hidden), cell)
        read = reader(self.query_proj(hidden).unsqueeze(-2), mask)
        return hidden, cell, read.value.squeeze(-2)

    def write(self, state: Seq2SeqState, x: Tensor, mask: Tensor | None = None) -> Seq2SeqState:
        """Store an encoder's states ``x`` ``(…, W, D)`` with keys W_k x and values W_v x."""
        if mask is not None:
            x = apply_mask(x, full_mask(x, mask))
        return state._replace(
            storage=self.storage.write(state.storage, self.key_proj(x), self.value_proj(x), mask=mask)
        )

    def read(self, state: Seq2SeqState, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read with ``x`` ``(…, Q, D)`` as h_t: tanh(W_c [c; 0]), zero where nothing is found."""
        if mask is not None:
            x = apply_mask(x, full_mask(x, mask))
        read = self.storage.read(state.storage, self.query_proj(x), mask, need_weights=False)
        return F.linear(read.value, self.out_proj.weight[:, : self.storage.value_size]).tanh()

    def erase(self, state: Seq2SeqState, x: Tensor, mask: Tensor | None = None) -> Seq2SeqState:
        """Erase what was written as ``x`` ``(…, E, D)``; hidden state and context stay as they are."""
        if mask is not None:
            x = apply_mask(x, full_mask(x, mask))
        return state._replace(storage=self.storage.erase(state.storage, self.key_proj(x), mask=mask))

    def inspect(self, state: Seq2SeqState) -> dict[str, Tensor]:
        """Return the storage's figures, and ``hidden_norm`` and ``context_norm`` ``(…,)``."""
        return {
            **self.storage.inspect(state.storage),
            "hidden_norm": state.hidden.norm(dim=-1),
            "context_norm": state.context.norm(dim=-1),
        }

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return f"model_size={self.model_size}, cell={self.cell!r}, write_on_forward={self.write_on_forward}"
