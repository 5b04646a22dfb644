"""The decoder of sequence-to-sequence models: a recurrent cell that reads a memory at every step."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.memories.recurrence import gru_cell, lstm_cell
from recollect.state import register_state
from recollect.storages.arguments import blank, full_mask
from recollect.storages.base import Storage
from recollect.storages.results import Read


@register_state
class Seq2SeqState(NamedTuple):
    """State of a ``Seq2SeqMemory``.

    Attributes:
        storage: What is remembered; the storage's own state.
        hidden: ``(…, D)`` hidden state h of the cell.
        cell: ``(…, D)`` cell state of an LSTM; ``(…, 0)`` for a GRU, which has none.
        context: ``(…, V)`` the last read c.
    """

    storage: Any
    hidden: Tensor
    cell: Tensor
    context: Tensor


@final
class Seq2SeqMemory(Memory[Seq2SeqState]):
    """A recurrent decoder with attention and input feeding.

    h_t = f([x_t; c_{t−1}], h_{t−1}); c_t = Attention(W_q h_t, storage); y_t = tanh(W_c [c_t; h_t]).

    f is a GRU or LSTM cell that sees the last context, as in Bahdanau et al. 2015 (arXiv:1409.0473,
    A.2.2); the output is the attentional state of Luong et al. 2015 (arXiv:1508.04025, eq. 5), which has
    no bias. How a query is compared with a key is the storage's affair: with the dot product it is
    Luong's "general" score.

    ``write`` puts an encoder's states into the storage, with keys W_k x and values W_v x. To begin from
    an encoder's summary, replace ``hidden`` in the state.

    Args:
        model_size: Width D of what goes in and comes out, and of the hidden state.
        storage: Where it is kept; its keys are real vectors.
        cell: ``"gru"`` or ``"lstm"``.
        remember: Whether ``forward`` also writes x_t, as ``write`` would, before it reads at step t.

    Raises:
        ValueError: If an argument is out of range, or if the storage's keys are integers.

    Example:
        >>> from recollect import Seq2SeqMemory, VectorStorage
        >>> decoder = Seq2SeqMemory(8, VectorStorage(8, 8, slots=5, similarity="dot"))
        >>> state = decoder.write(decoder.initial_state(2), torch.randn(2, 5, 8))  # five source positions
        >>> y, state = decoder(torch.randn(2, 3, 8), state)  # three target positions
        >>> y.shape
        torch.Size([2, 3, 8])
    """

    def __init__(
        self,
        model_size: int,
        storage: Storage,
        cell: Literal["gru", "lstm"] = "gru",
        remember: bool = False,
    ) -> None:
        super().__init__(model_size, storage, remember)
        if cell not in ("gru", "lstm"):
            raise ValueError(f'cell must be "gru" or "lstm", got {cell!r}')
        if storage.integer_keys:
            raise ValueError(
                f"{type(storage).__name__} is set to integer keys; Seq2SeqMemory makes keys of real numbers"
            )
        self.cell = cell
        self.key = nn.Linear(model_size, storage.key_size, bias=False)
        self.value = nn.Linear(model_size, storage.value_size, bias=False)
        self.query = nn.Linear(model_size, storage.key_size, bias=False)
        # Gates: reset, update, candidate for a GRU; input, forget, output, candidate for an LSTM.
        gates = (3 if cell == "gru" else 4) * model_size
        self.gates_input = nn.Linear(model_size, gates)
        self.gates_context = nn.Linear(storage.value_size, gates, bias=False)
        # A GRU's reset gate acts on W h + b, so that b cannot be merged with the input's; an LSTM's can.
        self.gates_hidden = nn.Linear(model_size, gates, bias=cell == "gru")
        self.output = nn.Linear(storage.value_size + model_size, model_size, bias=False)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Seq2SeqState:
        """Nothing remembered; hidden state, cell state and context are zero."""
        weight = self.query.weight
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
        """T steps of the recurrence; see ``Memory.forward``.

        All that does not depend on the step before is done for the T steps at once: the input's share of the
        gates, keys and values to remember, the output, and what the storage can prepare for its reads.
        """
        if state is None:
            state = self.initial_state(*x.shape[:-2], device=x.device)
        if mask is not None:
            x = blank(x, full_mask(x, mask))
        if x.shape[-2] == 0:
            return x, state
        reader = None if self.remember else self.storage.reader(state.storage)
        write = self._writer(x, mask) if self.remember else None
        kept = None if mask is None else mask.unsqueeze(-1).unbind(-2)
        stored, hidden, cell, context = state
        hiddens, contexts = [], []
        for t, gates in enumerate(self.gates_input(x).unbind(-2)):
            if write is not None:
                stored = write(stored, t)
                reader = self.storage.reader(stored)
            assert reader is not None
            before = hidden, cell, context
            hidden, cell, context = self._step(gates, *before, reader, None if kept is None else kept[t])
            if kept is not None:
                after = hidden, cell, context
                hidden, cell, context = (
                    torch.where(kept[t], new, old) for new, old in zip(after, before, strict=True)
                )
            hiddens.append(hidden)
            contexts.append(context)
        y = self.output(torch.cat([torch.stack(contexts, -2), torch.stack(hiddens, -2)], -1)).tanh()
        return (y if mask is None else blank(y, mask)), Seq2SeqState(stored, hidden, cell, context)

    def _step(
        self,
        gates: Tensor,
        hidden: Tensor,
        cell: Tensor,
        context: Tensor,
        reader: Callable[[Tensor], Read],
        kept: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step: hidden state, cell state and context after it."""
        gates = gates + self.gates_context(context)
        if self.cell == "gru":
            hidden = gru_cell(gates, self.gates_hidden(hidden), hidden)
        else:
            hidden, cell = lstm_cell(gates + self.gates_hidden(hidden), cell)
        read = reader(self.query(hidden).unsqueeze(-2))
        if kept is not None and read.weights is not None:
            read = read._replace(weights=blank(read.weights, kept))
        self._observe(read)
        return hidden, cell, read.value.squeeze(-2)

    def _writer(self, x: Tensor, mask: Tensor | None) -> Callable[[Any, int], Any]:
        keys, values = self.key(x), self.value(x)

        def write(stored: Any, t: int) -> Any:
            now = slice(t, t + 1)
            mask_t = None if mask is None else mask[..., now]
            return self.storage.write(stored, keys[..., now, :], values[..., now, :], mask=mask_t)

        return write

    def write(self, state: Seq2SeqState, x: Tensor, mask: Tensor | None = None) -> Seq2SeqState:
        """Remember an encoder's states ``x`` ``(…, W, D)`` under keys W_k x, as values W_v x."""
        if mask is not None:
            x = blank(x, full_mask(x, mask))
        return state._replace(
            storage=self.storage.write(state.storage, self.key(x), self.value(x), mask=mask)
        )

    def read(self, state: Seq2SeqState, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Recall with ``x`` ``(…, Q, D)`` as h_t: tanh(W_c [c; 0]), zero where nothing is found."""
        if mask is not None:
            x = blank(x, full_mask(x, mask))
        read = self._observe(self.storage.read(state.storage, self.query(x), mask))
        return F.linear(read.value, self.output.weight[:, : self.storage.value_size]).tanh()

    def erase(self, state: Seq2SeqState, x: Tensor, mask: Tensor | None = None) -> Seq2SeqState:
        """Forget what was written as ``x`` ``(…, E, D)``; the recurrence is left as it is."""
        if mask is not None:
            x = blank(x, full_mask(x, mask))
        return state._replace(storage=self.storage.erase(state.storage, self.key(x), mask=mask))

    def inspect(self, state: Seq2SeqState) -> dict[str, Tensor]:
        """The storage's figures, and ``hidden_norm`` and ``context_norm`` ``(…,)``."""
        return {
            **self.storage.inspect(state.storage),
            "hidden_norm": state.hidden.norm(dim=-1),
            "context_norm": state.context.norm(dim=-1),
        }

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"model_size={self.model_size}, cell={self.cell!r}, remember={self.remember}"
