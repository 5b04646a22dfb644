"""A fixed number of key-value slots, read by softmax attention."""

import math
from typing import Literal, final

import torch
from torch import Tensor, nn

from recollect.ops.attention import match
from recollect.ops.cached_attention import SoftmaxRead
from recollect.ops.distance import Metric
from recollect.ops.indexing import any_slot, assign, mask_repeats, scatter_rows, scatter_rows_, split_rows
from recollect.ops.inspection import sums_finite
from recollect.ops.masking import apply_mask, full_mask, none_empty
from recollect.ops.read_attention import kernel_fits
from recollect.ops.ring_write import common_clock
from recollect.ops.slot_policies import slots_by_content, slots_by_use
from recollect.state import Entries, Read
from recollect.storages.neighbors import Neighbors, nearest_entries
from recollect.storages.scan import ScanSteps
from recollect.storages.slot import SlotStorage
from recollect.storages.vector_read import attend, attend_fused, attend_in_kernel, may_skip_clearing
from recollect.storages.vector_scan import scan_slots, scan_window
from recollect.storages.vector_state import VectorState, keep_presence, place_run, write_entries
from recollect.validation import check_attention, check_positive

MIN_SCAN_BLOCK, MAX_SCAN_BLOCK = 128, 1024
"""Fewest and most steps that run in parallel where a scan needs the presence of every entry at every step."""

FUSED_COSINE_QUERIES = 8
"""Number of queries from which on a fused read pays, although it has to normalise all keys first."""

SCAN_WEIGHTS = 2**21
"""Number of presences that a block of such a scan aims at, which bounds its memory."""

UPSERT_BLOCK, COMPARED = 1024, 1 << 22
"""Rows that are upserted at once, and pairs of rows and slots that are compared at once, at most."""


@final
class VectorStorage(SlotStorage[VectorState]):
    """Slots read by softmax attention: weight ∝ presence · exp(sharpness · similarity).

    With ``policy="ring"`` and the dot product this is the memory of attention (Bahdanau et al. 2015,
    arXiv:1409.0473; Vaswani et al. 2017, arXiv:1706.03762), and ``scan`` is causal attention over the last N
    entries. Memorizing Transformers (Wu et al. 2022, arXiv:2203.08913) add ``top_k``. With cosine similarity
    it is the content addressing of the Neural Turing Machine (Graves et al. 2014, arXiv:1410.5401, eq. 5).

    A read costs O(N). The policy determines where a write goes:

    - ``"ring"``: to the next slot in turn, which evicts the oldest entry;
    - ``"lru"``: to a free slot, or else over the least recently used entry (see ``touch``);
    - ``"content"``: over the entry whose key matches (cosine ≥ 0.999), or else as ``"lru"`` (an upsert).

    A write at strength 0 makes no entry: a ring moves on, ``"lru"`` changes nothing, and ``"content"``
    removes the entry that matches. Writing many rows gives what single rows would, in a number of operations
    that does not grow with them; for ``"content"``, for each block of rows that is compared at once.

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.
        slots: Number N of entries at most.
        policy: ``"ring"``, ``"lru"`` or ``"content"``.
        similarity: ``"cosine"`` or ``"dot"``.
        sharpness: Initial factor on the similarity; 10 for cosine and 1/√K for dot by default.
        learn_sharpness: Make the factor a parameter (kept positive).
        top_k: Attend to the k best entries only; all by default.
        match_start: Cosine up to which ``erase`` leaves an entry alone; the match rises to 1 at cosine 0.999.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> storage = VectorStorage(key_size=2, value_size=1, slots=4)
        >>> state = storage.initial_state()
        >>> key, value = torch.tensor([[1.0, 0.0]]), torch.tensor([[5.0]])
        >>> state = storage.write(state, key, value)
        >>> storage.read(state, key).value
        tensor([[5.]])
        >>> storage.read(storage.erase(state, key), key).value
        tensor([[0.]])
    """

    def __init__(
        self,
        key_size: int,
        value_size: int,
        slots: int,
        policy: Literal["ring", "lru", "content"] = "ring",
        similarity: Literal["cosine", "dot"] = "cosine",
        sharpness: float | None = None,
        learn_sharpness: bool = False,
        top_k: int | None = None,
        match_start: float = 0.5,
    ) -> None:
        super().__init__(key_size, value_size)
        check_positive(slots=slots)
        check_attention(sharpness, match_start)
        if policy not in ("ring", "lru", "content"):
            raise ValueError(f'policy must be "ring", "lru" or "content", got {policy!r}')
        if similarity not in ("cosine", "dot"):
            raise ValueError(f'similarity must be "cosine" or "dot", got {similarity!r}')
        if top_k is not None and not 1 <= top_k <= slots:
            raise ValueError(f"top_k must be between 1 and slots ({slots}), got {top_k}")
        self.slots = slots
        self.policy = policy
        self.similarity = similarity
        self.top_k = top_k
        self.match_start = match_start
        if sharpness is None:
            sharpness = 10.0 if similarity == "cosine" else 1 / math.sqrt(key_size)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness)), requires_grad=learn_sharpness)

    @property
    def capacity(self) -> int:
        """Number N of slots."""
        return self.slots

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> VectorState:
        """Return a state without entries."""
        kwargs = self._factory_kwargs(device, dtype)
        integer = {"device": kwargs["device"], "dtype": torch.int64}
        return VectorState(
            keys=torch.zeros(*batch, self.slots, self.key_size, **kwargs),
            values=torch.zeros(*batch, self.slots, self.value_size, **kwargs),
            presence=torch.zeros(*batch, self.slots, **kwargs),
            usage=torch.zeros(*batch, self.slots, **integer),
            clock=torch.zeros(batch, **integer),
            rejected=torch.zeros(batch, **integer),
        )

    def _read(self, state: VectorState, query: Tensor) -> Read:
        if may_skip_clearing(query):
            read = attend(self, query, Entries(state.keys, state.values, state.presence))
            if sums_finite(read.value):
                return read
        return attend(self, query, self.entries(state))

    def _neighbors(self, state: VectorState, query: Tensor, k: int, metric: Metric) -> Neighbors:
        # What is empty is passed over, so that it need not be cleared.
        return nearest_entries(query, Entries(state.keys, state.values, state.presence), k, metric)

    def _read_value(self, state: VectorState, query: Tensor) -> Tensor:
        if self.top_k is not None:
            return self._read(state, query).value
        if kernel_fits(query, state.keys, state.values):
            return attend_in_kernel(self, query, state)
        if self.similarity == "cosine" and query.shape[-2] < FUSED_COSINE_QUERIES:
            return self._read(state, query).value
        if may_skip_clearing(query):
            value = attend_fused(self, query, Entries(state.keys, state.values, state.presence))
            return value if sums_finite(value) else self._read(state, query).value
        return attend_fused(self, query, self.entries(state))

    def _softmax_read(self, state: VectorState) -> SoftmaxRead | None:
        if self.top_k is not None:
            return None
        return SoftmaxRead(self.entries(state), self.log_sharpness.exp(), self.similarity == "cosine")

    def _place(
        self, state: VectorState, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> tuple[VectorState, Tensor]:
        if self.policy == "content":
            return self._upsert(state, key, value, strength, mask, inplace)
        if self.policy == "ring" and (clock := common_clock(state.clock, mask)) is not None:
            return place_run(state, key, value, strength, clock, inplace)
        if self.policy == "ring":
            number = state.clock.unsqueeze(-1) + mask.cumsum(-1) - 1  # (…, W), counted from the first write
            last = mask & (number + self.slots > number[..., -1:])  # not overwritten by a later one of the W
            slots = number % self.slots
            return write_entries(state, (key, value, strength, number), slots, mask, last, inplace), slots
        live = mask & (strength.to(state.presence.dtype) > 0)
        slots = slots_by_use(state.presence, state.usage, live)
        number = state.clock.unsqueeze(-1) + live.cumsum(-1) - 1
        last = mask_repeats(slots, live)
        return write_entries(state, (key, value, strength, number), slots, live, last, inplace), slots

    def _upsert(
        self, state: VectorState, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> tuple[VectorState, Tensor]:
        """Write by content, a block of rows at a time, each compared to all slots and rows of the block."""
        placed = []
        block = max(1, min(UPSERT_BLOCK, COMPARED // self.slots))
        for rows in split_rows(block, key, value, strength, mask):
            new, keys = rows[0].detach(), state.keys.detach()
            same = match(new, keys, self.match_start) >= 1
            alike = match(new, new, self.match_start) >= 1 if new.shape[-2] > 1 else same[..., :1]
            live = rows[2].to(state.presence.dtype) > 0
            slots, written = slots_by_content(
                state.presence, state.usage, state.clock, same, alike, live, rows[3]
            )
            number = state.clock.unsqueeze(-1) + written.cumsum(-1) - 1
            last = mask_repeats(slots, written)
            state = write_entries(state, (*rows[:3], number), slots, written, last, inplace)
            placed.append(slots)
        return state, torch.cat(placed, -1)

    def _erase(
        self, state: VectorState, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> VectorState:
        matched = match(key, self.entries(state).keys, self.match_start)
        return keep_presence(state, (1 - strength.unsqueeze(-1) * matched).prod(-2), inplace)

    def _update(
        self, state: VectorState, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool
    ) -> VectorState:
        scatter, last = scatter_rows_ if inplace else scatter_rows, mask_repeats(slots, mask)
        state = state._replace(values=scatter(state.values, value, slots, last))
        return self._mark_used(state, slots, mask, inplace)

    def entries(self, state: VectorState) -> Entries:
        """Return all N slots; keys and values of free slots are zero."""
        keys, values, presence = state[:3]
        if not none_empty(presence):
            keys, values = apply_mask(keys, presence > 0), apply_mask(values, presence > 0)
        return Entries(keys, values, presence)

    def _erase_slots(self, state: VectorState, slots: Tensor, mask: Tensor, inplace: bool) -> VectorState:
        gone = any_slot(slots, mask, self.slots)
        fill = Tensor.masked_fill_ if inplace else Tensor.masked_fill
        return state._replace(presence=fill(state.presence, gone, 0))

    def _write_at(self, state: VectorState, weights: Tensor, kept: Tensor, added: Tensor) -> VectorState:
        keys, values, presence = self.entries(state)
        present = 1 - (1 - presence) * (1 - weights).prod(-2)
        return state._replace(keys=keys, values=kept * values + added, presence=present)

    def touch(self, state: VectorState, read: Read) -> VectorState:
        """Mark the entry that each query of ``read`` weighed most as the most recently used.

        ``Storage.read`` returns no state, so call this to let ``policy="lru"`` keep what is read.
        """
        if read.weights is None:
            raise ValueError("this read has no weights: it did not come from a storage with entries")
        best = read.weights.argmax(-1, keepdim=True)
        slots = (best if read.slots is None else read.slots.gather(-1, best)).squeeze(-1)
        return self._mark_used(state, slots, read.weights.amax(-1) > 0, inplace=False)

    def _mark_used(self, state: VectorState, slots: Tensor, mask: Tensor, inplace: bool) -> VectorState:
        """Note the use of entries ``slots`` ``(…, n)`` in order, where ``mask`` is true."""
        used = state.clock.unsqueeze(-1) + mask.cumsum(-1) - 1
        scatter, last = scatter_rows_ if inplace else scatter_rows, mask_repeats(slots, mask)
        usage = scatter(state.usage, used, slots, last)
        if self.policy == "ring":  # its clock says where the next entry goes
            return state._replace(usage=usage)
        clock = assign(state.clock, state.clock + mask.sum(-1), inplace)
        return state._replace(usage=usage, clock=clock)

    def _scan(self, state: VectorState, steps: ScanSteps) -> tuple[Tensor, VectorState]:
        """Attend to a sliding window, or block by block to what is present at each step."""
        query, key, value, strength, erase_strength, mask = steps
        if self.policy == "ring" and self.top_k is None and erase_strength is None:
            output = scan_window(self, state, query, key, value, strength, mask)
            full = full_mask(query, mask)
            strength = self._check_strength(strength, full, value)
            return output, self._write(state, key, value, strength, full, False)
        block = max(MIN_SCAN_BLOCK, min(MAX_SCAN_BLOCK, SCAN_WEIGHTS // self.slots))
        return scan_slots(self, state, self._full_steps(steps), block)

    def inspect(self, state: VectorState) -> dict[str, Tensor]:
        """Return ``occupancy`` ``(…,)``, ``presence`` and ``age`` ``(…, N)``, in writes since use."""
        return {
            "occupancy": (state.presence > 0).float().mean(-1),
            "presence": state.presence,
            "age": (state.clock.unsqueeze(-1) - state.usage).masked_fill(state.presence <= 0, 0),
            "rejected": state.rejected,
        }

    def extra_repr(self) -> str:
        """Sizes, policy and similarity, for ``repr``."""
        own = f"slots={self.slots}, policy={self.policy!r}, similarity={self.similarity!r}"
        return f"{super().extra_repr()}, {own}"
