"""Entries found by hashing, at a cost that does not depend on their number."""

import math
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.ops.candidate_attention import (
    candidate_attention,
    candidate_cosine,
    candidate_match,
    decay_presence,
)
from recollect.ops.free_list import FreeList, full_free_list, pop_, release_
from recollect.ops.hash_table import HashTables, empty_tables, insert_, lookup, valid_indices
from recollect.ops.hashing import hash_multipliers, hash_planes, multiply_shift_hash, sign_hash
from recollect.ops.indexing import (
    gather_one,
    gather_rows,
    mask_repeats,
    masked_scatter_add_,
    scatter_one_,
    scatter_rows,
    scatter_rows_,
)
from recollect.ops.masking import zero_empty
from recollect.state import Entries, Read, clone_integers, register_state
from recollect.storages.slot import SlotStorage
from recollect.validation import check_attention, check_buckets, check_positive


@register_state
class HashState(NamedTuple):
    """State of a ``HashStorage``.

    Attributes:
        keys: ``(…, N, K)``, int64 where keys are integers.
        values: ``(…, N, V)``.
        presence: ``(…, N)`` in [0, 1]; arbitrary for a free slot.
        stamp: ``(…, N)`` int64, the number of the write that made the entry; 0 for a free slot.
        index_count: ``(…, N)`` int64, number of tables that still hold the entry.
        tables: Hash tables from keys to slots.
        free: The free slots.
        hand: ``(…,)`` int64, the slot to evict next when none is free.
        clock: ``(…,)`` int64, number of entries written so far.
        rejected: ``(…,)`` int64, number of rows left out because they were not finite.
    """

    keys: Tensor
    values: Tensor
    presence: Tensor
    stamp: Tensor
    index_count: Tensor
    tables: HashTables
    free: FreeList
    hand: Tensor
    clock: Tensor
    rejected: Tensor


@final
class HashStorage(SlotStorage[HashState]):
    """Entries found by hashing: weight ∝ presence · exp(sharpness · cosine) over the query's candidates only.

    A key has one bucket in each of several tables. An entry is kept once, and its index is inserted into
    those buckets. The candidates of a query are the entries in its buckets: ``tables · capacity`` at most,
    each counted once. No method costs more when there are more entries (with ``inplace=True`` for those that
    change the state).

    - Real keys are hashed by signed random projections (see ``sign_hash``). A query finds an entry at angle θ
      with probability 1 − (1 − (1 − θ/π)^log₂(buckets))^tables, and always if it equals the key. Each write
      makes a new entry, even for a key that exists already; a read then weighs both.
    - Integer keys (``integer_keys=True``: entity ids, or n-grams of K tokens) are hashed by
      ``multiply_shift_hash`` and found by equality. A write to an existing key replaces its value and
      presence (an upsert).

    A write at strength 0 makes no entry, and removes the entry of an existing integer key. Past capacity,

    - a full bucket drops its oldest index, and an entry that has lost its last index is removed;
    - a full store evicts the entry under a clock hand that sweeps the slots: the oldest entry, as long as
      none was freed. Free slots are always filled first.

    The hash is determined by ``seed`` and saved with the module. A state can only be read by a storage with
    the same hash.

    Args:
        key_size: Width K of keys and queries; for integer keys, the number of integers in a key.
        value_size: Width V of values.
        buckets: Buckets per table, a power of two.
        capacity: Indices per bucket.
        tables: Number of independent tables; 4 for real keys and 1 for integers by default.
        entries: Number N of entries at most; ``buckets · capacity`` by default.
        integer_keys: Use integer keys.
        sharpness: Initial factor on the cosine.
        learn_sharpness: Make the factor a parameter (kept positive).
        match_start: Cosine up to which ``erase`` leaves an entry alone; the match rises to 1 at cosine 0.999.
        seed: Seed of the hash.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> storage = HashStorage(key_size=2, value_size=1, buckets=16, integer_keys=True)
        >>> state = storage.initial_state()
        >>> bigrams, values = torch.tensor([[3, 5], [5, 3]]), torch.tensor([[1.0], [2.0]])
        >>> state = storage.write(state, bigrams, values)
        >>> storage.read(storage.erase(state, bigrams[:1]), bigrams).value
        tensor([[0.],
                [2.]])
    """

    def __init__(
        self,
        key_size: int,
        value_size: int,
        buckets: int = 256,
        capacity: int = 8,
        tables: int | None = None,
        entries: int | None = None,
        integer_keys: bool = False,
        sharpness: float = 10.0,
        learn_sharpness: bool = False,
        match_start: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(key_size, value_size)
        tables = (1 if integer_keys else 4) if tables is None else tables
        self.size = buckets * capacity if entries is None else entries
        check_buckets(buckets)
        check_positive(capacity=capacity, tables=tables, entries=self.size)
        check_attention(sharpness, match_start)
        self.buckets = buckets
        self.bucket_capacity = capacity
        self.tables = tables
        self.integer_keys = integer_keys
        self.match_start = match_start
        self.bits = buckets.bit_length() - 1
        self.hash: Tensor
        integers, reals = (key_size, tables, seed), (key_size, tables, self.bits, seed)
        self.register_buffer("hash", hash_multipliers(*integers) if integer_keys else hash_planes(*reals))
        trainable = learn_sharpness and not integer_keys
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness)), requires_grad=trainable)

    @property
    def capacity(self) -> int:
        """Number N of entries at most."""
        return self.size

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> HashState:
        """Return a state without entries."""
        kwargs = self._factory_kwargs(device, dtype)
        integer = {"device": kwargs["device"], "dtype": torch.int64}
        return HashState(
            keys=torch.zeros(*batch, self.size, self.key_size, **(integer if self.integer_keys else kwargs)),
            values=torch.zeros(*batch, self.size, self.value_size, **kwargs),
            presence=torch.zeros(*batch, self.size, **kwargs),
            stamp=torch.zeros(*batch, self.size, **integer),
            index_count=torch.zeros(*batch, self.size, **integer),
            tables=empty_tables(
                *batch, self.tables, self.buckets, self.bucket_capacity, device=kwargs["device"]
            ),
            free=full_free_list(*batch, size=self.size, device=kwargs["device"]),
            hand=torch.zeros(batch, **integer),
            clock=torch.zeros(batch, **integer),
            rejected=torch.zeros(batch, **integer),
        )

    def _read(self, state: HashState, query: Tensor) -> Read:
        slots, found = lookup(state.tables, state.stamp, self._codes(query))
        if self.integer_keys:
            found = found & (gather_rows(state.keys, slots) == query.unsqueeze(-2)).all(-1)
            scores = torch.zeros_like(slots, dtype=state.values.dtype)
        else:
            scores = candidate_cosine(query, state.keys, slots, found) * self.log_sharpness.exp()
        return candidate_attention(state.values, state.presence, slots, found, scores)

    def _place(
        self, state: HashState, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> tuple[HashState, Tensor]:
        state = state if inplace else clone_integers(state)
        codes, live = self._codes(key), strength > 0
        steps = [
            self._allocate_(state, key[..., w, :], codes[..., w, :], live[..., w], mask[..., w])
            for w in range(key.shape[-2])
        ]
        if not steps:
            return state, torch.zeros_like(mask, dtype=torch.int64)
        slots, mask = (torch.stack(column, -1) for column in zip(*steps, strict=True))
        scatter, last = scatter_rows_ if inplace else scatter_rows, mask_repeats(slots, mask)
        values = scatter(state.values, value, slots, last)
        presence = scatter(state.presence, strength, slots, last)
        keys = state.keys if self.integer_keys else scatter(state.keys, key, slots, last)
        return state._replace(keys=keys, values=values, presence=presence), slots

    def _allocate_(
        self, state: HashState, key: Tensor, codes: Tensor, live: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Allocate a slot for one entry per batch item and index it, in place.

        Values, presence and real keys are left to the caller, since they have gradients.

        Args:
            state: Its integers are changed.
            key: ``(…, K)``.
            codes: ``(…, tables)``.
            live: ``(…,)`` bool, whether the entry's strength is above zero.
            mask: ``(…,)``.

        Returns:
            The slot ``(…,)``, and whether anything is written there, ``(…,)`` bool.
        """
        existing, exists = self._find(state, key, codes)
        fresh = mask & live & ~exists
        evict = fresh & (state.free.size == 0)
        slot = torch.where(exists, existing, pop_(state.free, state.hand, fresh))
        state.hand.copy_(torch.where(evict, (state.hand + 1) % self.size, state.hand))
        mask = mask & (live | exists)
        number = state.clock + 1
        scatter_one_(state.stamp, slot, number, mask)
        scatter_one_(state.index_count, slot, self.tables, mask)
        dropped, was_valid = insert_(state.tables, state.stamp, codes, slot, number, mask)
        masked_scatter_add_(state.index_count, dropped, torch.full_like(dropped, -1), was_valid)
        # An entry that several tables drop at once must be freed only once.
        again = ((dropped.unsqueeze(-1) == dropped.unsqueeze(-2)) & was_valid.unsqueeze(-2)).tril(-1).any(-1)
        unindexed = was_valid & ~again & (state.index_count.gather(-1, dropped) == 0)
        release_(state.stamp, state.free, dropped, unindexed)
        if self.integer_keys:
            flat = state.keys.view(*state.keys.shape[:-2], self.size * self.key_size)
            places = slot.unsqueeze(-1) * self.key_size + torch.arange(self.key_size, device=key.device)
            masked_scatter_add_(flat, places, key - flat.gather(-1, places), mask.unsqueeze(-1))
            release_(state.stamp, state.free, slot.unsqueeze(-1), (mask & ~live).unsqueeze(-1))
        state.clock.add_(mask)
        return slot, mask

    def _find(self, state: HashState, key: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Slot ``(…,)`` of an integer key, and whether it exists, bool; a real key never exists."""
        if not self.integer_keys:
            return torch.zeros_like(state.hand), torch.zeros_like(state.hand, dtype=torch.bool)
        slots, found = lookup(state.tables, state.stamp, codes.unsqueeze(-2))
        same = found & (gather_rows(state.keys, slots) == key.unsqueeze(-2).unsqueeze(-2)).all(-1)
        same, slots = same.squeeze(-2), slots.squeeze(-2)
        return gather_one(slots, same.to(torch.uint8).argmax(-1)), same.any(-1)

    def _erase(
        self, state: HashState, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> HashState:
        state = state if inplace else clone_integers(state)
        slots, found = lookup(state.tables, state.stamp, self._codes(key))  # (…, E, tables · capacity)
        if self.integer_keys:
            matched = (gather_rows(state.keys, slots) == key.unsqueeze(-2)).all(-1).to(strength.dtype)
        else:
            matched = candidate_match(key, state.keys, slots, found, self.match_start)
        lost = (strength.unsqueeze(-1) * matched).masked_fill(~(found & mask.unsqueeze(-1)), 0)
        presence = state.presence
        for e in range(key.shape[-2]):
            candidates = slots[..., e, :]
            presence, gone = decay_presence(presence, state.stamp, candidates, lost[..., e, :], inplace)
            release_(state.stamp, state.free, candidates, gone)
        return state._replace(presence=presence)

    def _update(
        self, state: HashState, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool
    ) -> HashState:
        mask = mask & (state.stamp.gather(-1, slots) > 0)
        scatter = scatter_rows_ if inplace else scatter_rows
        return state._replace(values=scatter(state.values, value, slots, mask_repeats(slots, mask)))

    def _erase_slots(self, state: HashState, slots: Tensor, mask: Tensor, inplace: bool) -> HashState:
        state = state if inplace else clone_integers(state)
        live = mask_repeats(slots, mask) & (state.stamp.gather(-1, slots) > 0)
        release_(state.stamp, state.free, slots, live)
        return state

    def _write_at(self, state: HashState, weights: Tensor, kept: Tensor, added: Tensor) -> HashState:
        values = torch.where(state.stamp.unsqueeze(-1) > 0, kept * state.values + added, state.values)
        return state._replace(values=values)

    def entries(self, state: HashState) -> Entries:
        """Return all N slots; keys and values of free slots are zero."""
        presence = state.presence.masked_fill(state.stamp == 0, 0)
        return Entries(zero_empty(state.keys, presence), zero_empty(state.values, presence), presence)

    def inspect(self, state: HashState) -> dict[str, Tensor]:
        """Return ``occupancy`` ``(…,)``, ``presence`` and ``age`` in writes ``(…, N)``, and ``bucket_fill``.

        ``bucket_fill`` ``(…, tables, buckets)`` is the share of each bucket that holds valid indices.
        """
        live = state.stamp > 0
        return {
            "occupancy": live.float().mean(-1),
            "presence": self.entries(state).filled,
            "age": (state.clock.unsqueeze(-1) - state.stamp).masked_fill(~live, 0),
            "rejected": state.rejected,
            "bucket_fill": valid_indices(state.tables, state.stamp).float().mean(-1),
        }

    def _codes(self, key: Tensor) -> Tensor:
        if self.integer_keys:
            return multiply_shift_hash(key, self.hash, self.bits)
        return sign_hash(key, self.hash)

    def _check_rows(self, state: HashState, rows: Tensor, name: str, size: int, mask: Tensor | None) -> int:
        if name in ("query", "key") and rows.is_floating_point() == self.integer_keys:
            expected = "integers (integer_keys=True)" if self.integer_keys else "floating point"
            raise ValueError(f"{name} must be {expected}, got {rows.dtype}")
        return super()._check_rows(state, rows, name, size, mask)

    def extra_repr(self) -> str:
        """The sizes, for ``repr``."""
        table = f"buckets={self.buckets}, capacity={self.bucket_capacity}, tables={self.tables}"
        own = f"{table}, entries={self.size}, integer_keys={self.integer_keys}"
        return f"{super().extra_repr()}, {own}"
