"""A memory whose entries attend to each other before they are read."""

import math
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.memories.temporal_encoding import TemporalEncoding
from recollect.ops.attention import presence_bias
from recollect.ops.cached_attention import trim_empty_slots
from recollect.ops.heads import merge_heads, split_heads
from recollect.ops.indexing import mask_repeats, scatter_rows
from recollect.ops.masking import apply_mask, full_mask
from recollect.state import Read, State, register_state
from recollect.storages.slot import SlotStorage
from recollect.validation import check_positive


@register_state
class RelationalState(NamedTuple):
    """State of a ``RelationalMemory``.

    Attributes:
        entries: State of the storage.
        times: ``(…, N)`` int64, number of items written before the entry in each slot.
        written: ``(…,)`` int64, number of items written so far.
    """

    entries: State
    times: Tensor
    written: Tensor


@final
class RelationalMemory(Memory[RelationalState, SlotStorage]):
    """Entries and query attend to the entries, in R rounds with shared weights; y is the query at the end.

    With m_i = norm(x_i + te(age_i)) and the query m_0 = norm(x + te(0)) + b, each round r does to every m

        m ← norm(m + W_o Attention(m + s_r, M)),    m ← norm(m + W_2 relu(W_1 m)),    M = {m_i + s_r}

    with H heads, after which y = W m_0. It is the Universal Transformer (Dehghani et al. 2019,
    arXiv:1807.03819, section 2.1) over the entries of a storage, which can be written, evicted and erased.
    Slots that attend to each other are also the idea of the relational memory core (Santoro et al. 2018,
    arXiv:1806.01822, section 3).

    The storage keeps x_i with x_i as its key, for erasing and evicting by content. Each read relates all N
    entries anew, which costs O(R N²).

    Args:
        model_size: Width D.
        storage: A storage of keys and values of width D.
        rounds: Number R of rounds.
        heads: Number H of heads; divides D.
        expand: Width of the hidden layer relu(W_1 m), in multiples of D.
        dropout: Dropout probability of the residual branches.
        write_on_forward: Let ``forward`` write each x_t before it reads at t.

    Raises:
        ValueError: If an argument is out of range or does not fit the storage.

    Example:
        >>> from recollect import RelationalMemory, VectorStorage
        >>> memory = RelationalMemory(8, VectorStorage(8, 8, slots=16), rounds=2, heads=2)
        >>> facts, question = torch.randn(1, 5, 8), torch.randn(1, 1, 8)
        >>> state = memory.write(memory.initial_state(1), facts)
        >>> memory.read(state, question).shape
        torch.Size([1, 1, 8])
    """

    storage_type = SlotStorage

    def __init__(
        self,
        model_size: int,
        storage: SlotStorage,
        rounds: int = 4,
        heads: int = 4,
        expand: int = 2,
        dropout: float = 0.0,
        write_on_forward: bool = False,
    ) -> None:
        super().__init__(model_size, storage, write_on_forward)
        check_positive(rounds=rounds, heads=heads, expand=expand)
        if model_size % heads:
            raise ValueError(f"heads must divide model_size ({model_size}), got {heads}")
        if (storage.key_size, storage.value_size) != (model_size, model_size):
            raise ValueError(
                f"entries are their own keys: keys and values must be of width "
                f"{model_size}, but {type(storage).__name__} has key_size {storage.key_size} and value_size "
                f"{storage.value_size}"
            )
        self.heads = heads
        self.dropout = nn.Dropout(dropout)
        self.temporal_encoding = TemporalEncoding(model_size)
        self.round_embedding = nn.Parameter(0.02 * torch.randn(rounds, model_size))
        self.query_embedding = nn.Parameter(0.02 * torch.randn(model_size))
        self.input_norm = nn.LayerNorm(model_size)
        self.attention_norm = nn.LayerNorm(model_size)
        self.mlp_norm = nn.LayerNorm(model_size)
        self.qkv_proj = nn.Linear(model_size, 3 * model_size)
        self.attention_proj = nn.Linear(model_size, model_size)
        hidden = expand * model_size
        self.mlp = nn.Sequential(
            nn.Linear(model_size, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, model_size)
        )
        self.out_proj = nn.Linear(model_size, model_size)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> RelationalState:
        """Return a state without entries."""
        like = self.out_proj.weight
        device, dtype = device or like.device, dtype or like.dtype
        entries = self.storage.initial_state(*batch, device=device, dtype=dtype)
        slots = self.storage.entries(entries).filled.shape[-1]
        times = torch.zeros(*batch, slots, dtype=torch.int64, device=device)
        return RelationalState(entries, times, torch.zeros(batch, dtype=torch.int64, device=device))

    # --- write, read, erase ---------------------------------------------------------------------------------

    def write(self, state: RelationalState, x: Tensor, mask: Tensor | None = None) -> RelationalState:
        """Store W items ``x`` ``(…, W, D)``, where ``mask`` ``(…, W)`` is true."""
        mask = full_mask(x, mask)
        x = apply_mask(x, mask)
        entries, slots = self.storage.place(state.entries, x, x, mask=mask)
        now = state.written.unsqueeze(-1) + mask.cumsum(-1) - 1  # (…, W)
        times = scatter_rows(state.times, now, slots.clamp_min(0), mask_repeats(slots, slots >= 0))
        return RelationalState(entries, times, state.written + mask.sum(-1))

    def read(self, state: RelationalState, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read with Q queries ``x`` ``(…, Q, D)``: ``(…, Q, D)``."""
        mask = full_mask(x, mask)
        kept = trim_empty_slots(self.storage.entries(state.entries))
        age = state.written.unsqueeze(-1) - state.times[..., : kept.filled.shape[-1]]
        entries = self.input_norm(kept.values + self.temporal_encoding(age))
        query = self.input_norm(
            apply_mask(x, mask) + self.temporal_encoding(torch.zeros_like(mask, dtype=age.dtype))
        )
        found = self._relate(state, entries, query + self.query_embedding, kept.filled)
        return apply_mask(self.out_proj(found), mask)

    def erase(self, state: RelationalState, x: Tensor, mask: Tensor | None = None) -> RelationalState:
        """Erase what was written as ``x`` ``(…, E, D)``, whenever that was."""
        mask = full_mask(x, mask)
        return state._replace(entries=self.storage.erase(state.entries, apply_mask(x, mask), None, mask))

    def forward(
        self, x: Tensor, state: RelationalState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RelationalState]:
        """Run T steps: one parallel read, or with ``write_on_forward`` a write and a read per step."""
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        if not self.write_on_forward:
            return self.read(state, x, mask), state
        return self._write_then_read(x, state, mask)

    def inspect(self, state: RelationalState) -> dict[str, Tensor]:
        """Return the storage's figures."""
        return self.storage.inspect(state.entries)

    # --- the terms of the formula ---------------------------------------------------------------------------

    def _relate(self, state: RelationalState, entries: Tensor, query: Tensor, presence: Tensor) -> Tensor:
        """Run R rounds over ``entries`` ``(…, N, D)`` and ``query`` ``(…, Q, D)``, and return the query."""
        count = entries.shape[-2]
        bias, found = presence_bias(presence.to(entries.dtype)[..., None, None, :])
        m = torch.cat([entries, query], -2)  # (…, N + Q, D)
        for r, step in enumerate(self.round_embedding):
            q, keys, values = self.qkv_proj(m + step).chunk(3, -1)
            # Only entries are attended to: (…, H, N, D / H).
            keys, values = (split_heads(item[..., :count, :], self.heads) for item in (keys, values))
            if self.storage.traced:
                self._report_read(
                    state, split_heads(q[..., count:, :], self.heads), keys, values, bias, found
                )
            if r == len(self.round_embedding) - 1:  # the last round only updates the query
                m, q = m[..., count:, :], q[..., count:, :]
            read = F.scaled_dot_product_attention(split_heads(q, self.heads), keys, values, attn_mask=bias)
            attended = self.attention_proj(merge_heads(read.masked_fill(~found, 0)))
            m = self.attention_norm(m + self.dropout(attended))
            m = self.mlp_norm(m + self.dropout(self.mlp(m)))
        return m

    def _report_read(
        self,
        state: RelationalState,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        bias: Tensor,
        found: Tensor,
    ) -> None:
        """Report to the storage's read hooks what the query ``(…, H, Q, D / H)`` reads in a round."""
        scores = query @ keys.mT / math.sqrt(query.shape[-1])
        weights = (scores + bias).softmax(-1) * found
        slots = torch.arange(keys.shape[-2], device=keys.device)
        read = Read(weights @ values, weights, slots.expand(weights.shape))
        self.storage.report_read(state.entries, read)
