"""A memory whose entries are related to each other before they are asked."""

import math
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.memories.temporal import TemporalEncoding
from recollect.state import State, register_state
from recollect.storages.arguments import blank, full_mask
from recollect.storages.base import Storage
from recollect.storages.reading import in_sight
from recollect.storages.results import Read
from recollect.storages.scanning import presence_bias
from recollect.storages.slots import put_rows, without_repeats


@register_state
class RelationalState(NamedTuple):
    """State of a ``RelationalMemory``.

    Attributes:
        entries: State of the storage.
        times: ``(…, N)`` int64, when the entry in each place was written: it was the how-manieth.
        written: ``(…,)`` int64, how many things have been written.
    """

    entries: State
    times: Tensor
    written: Tensor


@final
class RelationalMemory(Memory[RelationalState]):
    """Entries and query attend to the entries, in R rounds with the same weights; y is the query at the end.

    With m_i = norm(x_i + te(age_i)) and the query m_0 = norm(x + te(0)) + b, each round r does to every m

        m ← norm(m + W_o Attention(m + s_r, M)),    m ← norm(m + W_2 relu(W_1 m)),    M = {m_i + s_r}

    with H heads, after which y = W m_0. It is the Universal Transformer (Dehghani et al. 2019,
    arXiv:1807.03819, section 2.1) with a memory of its own: what is attended to stands in a storage, so that
    it can be written to, evicted from and made to forget. Slots that attend to each other are also the idea
    of the relational memory core (Santoro et al. 2018, arXiv:1806.01822, section 3).

    The storage keeps x_i under the key x_i, for erasing and evicting by content. Relating all N entries costs
    O(R N²) at each read: a thing is related to what is there when the question comes.

    Args:
        model_size: Width D.
        storage: Where the entries are kept; keys and values have width D.
        rounds: Number R of rounds.
        heads: Number H of heads; divides D.
        expand: Width of the inner layer relu(W_1 m), in multiples of D.
        dropout: Of what each round adds.
        remember: Whether ``forward`` writes each x_t before reading at t.

    Raises:
        ValueError: If an argument is out of range or does not go with the storage.

    Example:
        >>> from recollect import RelationalMemory, VectorStorage
        >>> memory = RelationalMemory(8, VectorStorage(8, 8, slots=16), rounds=2, heads=2)
        >>> facts, question = torch.randn(1, 5, 8), torch.randn(1, 1, 8)
        >>> state = memory.write(memory.initial_state(1), facts)
        >>> memory.read(state, question).shape
        torch.Size([1, 1, 8])
    """

    def __init__(
        self,
        model_size: int,
        storage: Storage,
        rounds: int = 4,
        heads: int = 4,
        expand: int = 2,
        dropout: float = 0.0,
        remember: bool = False,
    ) -> None:
        super().__init__(model_size, storage, remember)
        for name, number in (("rounds", rounds), ("heads", heads), ("expand", expand)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if model_size % heads:
            raise ValueError(f"heads must divide model_size ({model_size}), got {heads}")
        if storage.integer_keys or (storage.key_size, storage.value_size) != (model_size, model_size):
            raise ValueError(
                f"entries are kept under themselves: keys and values must be real vectors of width "
                f"{model_size}, but {type(storage).__name__} has key_size {storage.key_size} and value_size "
                f"{storage.value_size}{', and integer keys' if storage.integer_keys else ''}"
            )
        self.heads = heads
        self.dropout = nn.Dropout(dropout)
        self.time = TemporalEncoding(model_size)
        self.round = nn.Parameter(0.02 * torch.randn(rounds, model_size))
        self.asking = nn.Parameter(0.02 * torch.randn(model_size))
        self.norm_begin = nn.LayerNorm(model_size)
        self.norm_read = nn.LayerNorm(model_size)
        self.norm_mixed = nn.LayerNorm(model_size)
        self.project = nn.Linear(model_size, 3 * model_size)
        self.gather = nn.Linear(model_size, model_size)
        inner = expand * model_size
        self.mix = nn.Sequential(
            nn.Linear(model_size, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, model_size)
        )
        self.conclude = nn.Linear(model_size, model_size)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> RelationalState:
        """No entries."""
        like = self.conclude.weight
        device, dtype = device or like.device, dtype or like.dtype
        entries = self.storage.initial_state(*batch, device=device, dtype=dtype)
        places = self.storage.entries(entries).filled.shape[-1]
        times = torch.zeros(*batch, places, dtype=torch.int64, device=device)
        return RelationalState(entries, times, torch.zeros(batch, dtype=torch.int64, device=device))

    # --- the verbs ------------------------------------------------------------------------------------------

    def write(self, state: RelationalState, x: Tensor, mask: Tensor | None = None) -> RelationalState:
        """Remember W things: ``x`` ``(…, W, D)``, ``mask`` ``(…, W)``."""
        mask = full_mask(x, mask)
        x = blank(x, mask)
        entries, slots = self.storage.place(state.entries, x, x, mask=mask)
        when = state.written.unsqueeze(-1) + mask.cumsum(-1) - 1
        times = put_rows(state.times, when, slots.clamp_min(0), without_repeats(slots, slots >= 0))
        return RelationalState(entries, times, state.written + mask.sum(-1))

    def read(self, state: RelationalState, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Ask Q questions: ``x`` ``(…, Q, D)`` → ``(…, Q, D)``."""
        mask = full_mask(x, mask)
        kept = in_sight(self.storage.entries(state.entries))
        age = state.written.unsqueeze(-1) - state.times[..., : kept.filled.shape[-1]]
        entries = self.norm_begin(kept.values + self.time(age))
        query = self.norm_begin(blank(x, mask) + self.time(torch.zeros_like(mask, dtype=age.dtype)))
        found = self._relate(entries, query + self.asking, kept.filled)
        return blank(self.conclude(found), mask)

    def erase(self, state: RelationalState, x: Tensor, mask: Tensor | None = None) -> RelationalState:
        """Forget what was written as ``x`` ``(…, E, D)``, whenever that was."""
        mask = full_mask(x, mask)
        return state._replace(entries=self.storage.erase(state.entries, blank(x, mask), None, mask))

    def forward(
        self, x: Tensor, state: RelationalState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RelationalState]:
        """T steps in order: one parallel read, or, where ``remember`` is set, a write and a read each."""
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        if not self.remember:
            return self.read(state, x, mask), state
        return self._write_then_read(x, state, mask)

    def inspect(self, state: RelationalState) -> dict[str, Tensor]:
        """The storage's figures."""
        return self.storage.inspect(state.entries)

    # --- the terms of the formula ---------------------------------------------------------------------------

    def _relate(self, entries: Tensor, query: Tensor, presence: Tensor) -> Tensor:
        """What R rounds make of ``query`` ``(…, Q, D)`` among ``entries`` ``(…, N, D)``."""
        count = entries.shape[-2]
        bias, found = presence_bias(presence.to(entries.dtype)[..., None, None, :])
        m = torch.cat([entries, query], -2)
        for r, step in enumerate(self.round):
            q, keys, values = self.project(m + step).chunk(3, -1)
            keys, values = self._heads_first(keys[..., :count, :]), self._heads_first(values[..., :count, :])
            if self._traces:
                self._trace(self._heads_first(q[..., count:, :]), keys, values, bias, found)
            if r == len(self.round) - 1:  # nobody would see what becomes of the entries
                m, q = m[..., count:, :], q[..., count:, :]
            read = F.scaled_dot_product_attention(self._heads_first(q), keys, values, attn_mask=bias)
            gathered = self.gather(read.masked_fill(~found, 0).transpose(-3, -2).flatten(-2))
            m = self.norm_read(m + self.dropout(gathered))
            m = self.norm_mixed(m + self.dropout(self.mix(m)))
        return m

    def _trace(self, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, found: Tensor) -> None:
        """Show what the query read in a round, head by head, to whoever is tracing."""
        scores = query @ keys.mT / math.sqrt(query.shape[-1])
        weights = (scores + bias).softmax(-1) * found
        places = torch.arange(keys.shape[-2], device=keys.device)
        self._observe(Read(weights @ values, weights, places.expand(weights.shape)))

    def _heads_first(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads).transpose(-3, -2)
