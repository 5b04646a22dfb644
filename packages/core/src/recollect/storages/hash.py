"""Entries found by hashing, at a cost that does not depend on their number."""

import math
from typing import final

import torch
from torch import Tensor, nn

from recollect.ops.candidate_attention import (
    candidate_attention,
    candidate_cosine,
    candidate_match,
    candidate_presence,
    rows_at_once,
)
from recollect.ops.distance import Metric
from recollect.ops.hash_table import (
    Buckets,
    Candidates,
    candidates,
    find_buckets,
    lookup,
    rows_to_insert,
    valid_indices,
)
from recollect.ops.hashing import hash_multipliers, hash_planes, multiply_shift_hash, sign_hash
from recollect.ops.indexing import (
    assign,
    gather_rows,
    mask_repeats,
    scatter_rows,
    scatter_rows_,
    split_rows,
)
from recollect.ops.inspection import is_traced
from recollect.ops.upserts import Clock
from recollect.state import Entries, Read
from recollect.storages.candidate_scan import scan_candidates
from recollect.storages.candidates import (
    change_values,
    erase_candidates,
    free_slots,
    stamped_entries,
    update_values,
)
from recollect.storages.hash_state import HashState, empty_hash_state, file_entries, meet_entries
from recollect.storages.neighbors import Neighbors, nearest_candidates
from recollect.storages.scan import ScanSteps
from recollect.storages.slot import SlotStorage
from recollect.validation import check_attention, check_buckets, check_positive

MANY = 1024
"""Rows with integer keys that are written at once even to a smaller store."""


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
      presence (an upsert); it stays as old as it was.

    Free slots are filled first, and free places in buckets. Past capacity,

    - a full bucket drops its oldest index, and an entry that has lost its last index is gone;
    - a full store evicts the entry under a clock hand that sweeps the slots: the oldest entry, as long as
      none was freed.

    An erase frees the slots of the entries that a key removes completely, and their places in the buckets of
    that key. Other slots and places without an entry are taken in their turn: those of evicted or dropped
    entries, and that of an integer key written at strength 0, which the same key can take again until then.
    A write at strength 0 to any other key makes no entry.

    Writing or erasing many rows gives what single rows would, in a number of operations that does not grow
    with them. The exception are integer keys that return just as they are evicted: see ``meet``.

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
        of_keys = kwargs | {"dtype": torch.int64} if self.integer_keys else kwargs
        keys = torch.zeros(*batch, self.size, self.key_size, **of_keys)
        values = torch.zeros(*batch, self.size, self.value_size, **kwargs)
        return empty_hash_state(keys, values, (self.tables, self.buckets, self.bucket_capacity))

    def _read(self, state: HashState, query: Tensor) -> Read:
        slots, found = lookup(state.tables, state.stamp, self._codes(query))
        scores, found = self._score(query, state.keys, slots, found)
        present = candidate_presence(state.presence, slots, found)
        return candidate_attention(state.values, present, slots, scores)

    def _candidates(self, state: HashState, key: Tensor) -> Candidates:
        return candidates(state.tables, state.stamp, self._codes(key))

    def _score(self, query: Tensor, keys: Tensor, slots: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of candidates ``(…, Q, C)``, and which of them count, bool."""
        if self.integer_keys:
            same = (gather_rows(keys, slots) == query.unsqueeze(-2)).all(-1)
            return torch.zeros_like(slots, dtype=self.log_sharpness.dtype), found & same
        return candidate_cosine(query, keys, slots, found) * self.log_sharpness.exp(), found

    def _matched(self, key: Tensor, keys: Tensor, slots: Tensor, found: Tensor) -> Tensor:
        """Degree to which a key names each of its candidates, ``(…, E, C)``; zero where not found."""
        if self.integer_keys:
            same = (gather_rows(keys, slots) == key.unsqueeze(-2)).all(-1)
            return (found & same).to(self.log_sharpness.dtype)
        return candidate_match(key, keys, slots, found, self.match_start)

    def _neighbors(self, state: HashState, query: Tensor, k: int, metric: Metric) -> Neighbors:
        slots, found = lookup(state.tables, state.stamp, self._codes(query))
        found = candidate_presence(state.presence, slots, found) > 0
        return nearest_candidates(query, self.entries(state), slots, found, k, metric)

    def _place(
        self, state: HashState, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> tuple[HashState, Tensor]:
        # Which integer keys exist is found sooner, the fewer times the rows can fill the store.
        most = rows_to_insert(state.tables, mask)
        most = min(most, max(self.size, MANY)) if self.integer_keys else most
        slots = []
        for rows in split_rows(most, key, value, strength, mask):
            state, placed = self._place_rows(state, rows, inplace)
            inplace = inplace or not torch.is_grad_enabled()  # what has been changed is a copy by now
            slots.append(placed)
        return state, torch.cat(slots, -1)

    def _place_rows(
        self, state: HashState, rows: tuple[Tensor, ...], inplace: bool
    ) -> tuple[HashState, Tensor]:
        key, value, strength, mask = rows
        codes, live = self._codes(key), strength.to(state.presence.dtype) > 0
        buckets = find_buckets(state.tables, codes)
        clock = Clock(state.free.stack, state.free.size.unsqueeze(-1), state.hand.unsqueeze(-1))
        slots, exists = self._meet(state, key, codes, buckets, clock, mask & live)
        fresh, written = mask & live & ~exists, mask & (live | exists)
        slots = torch.where(exists, slots, clock.slots(fresh.cumsum(-1) - fresh.to(torch.int64)))
        number = state.clock.unsqueeze(-1) + written.cumsum(-1)
        state = file_entries(state, buckets, slots, number, fresh, inplace)
        state = state._replace(clock=assign(state.clock, state.clock + written.sum(-1), inplace))
        scatter, last = scatter_rows_ if inplace else scatter_rows, mask_repeats(slots, written)
        keys, values, presence = (
            scatter(old, new, slots, last) for old, new in zip(state[:3], (key, value, strength), strict=True)
        )
        return state._replace(keys=keys, values=values, presence=presence), slots

    def _meet(
        self, state: HashState, key: Tensor, codes: Tensor, buckets: Buckets, clock: Clock, writes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Slots ``(…, W)`` of integer keys, and which exist when written, bool; real keys never do."""
        if not self.integer_keys:
            return torch.zeros_like(writes, dtype=torch.int64), torch.zeros_like(writes)
        return meet_entries(state, key, codes, buckets, clock, writes)

    def _erase(
        self, state: HashState, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> HashState:
        shape = self.tables, self.buckets, self.bucket_capacity
        for rows in split_rows(rows_at_once(mask, shape, self.key_size), key, strength, mask):
            state = self._erase_rows(state, rows, inplace)
            inplace = inplace or not torch.is_grad_enabled()  # what has been changed is a copy by now
        return state

    def _erase_rows(self, state: HashState, rows: tuple[Tensor, ...], inplace: bool) -> HashState:
        key, strength, mask = rows
        found = self._candidates(state, key)
        some = found.once & mask.unsqueeze(-1)  # each entry is compared once; others look up slot 0
        matched = self._matched(key, state.keys, found.slots.masked_fill(~some, 0), some)
        return erase_candidates(state, found, strength.unsqueeze(-1) * matched, inplace)[0]

    def _update(
        self, state: HashState, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool
    ) -> HashState:
        return update_values(state, slots, value, mask, inplace)

    def _erase_slots(self, state: HashState, slots: Tensor, mask: Tensor, inplace: bool) -> HashState:
        codes = self._codes(gather_rows(state.keys, slots.unsqueeze(-1)).squeeze(-2))
        return free_slots(state, codes, slots, mask, inplace)[0]

    def _write_at(self, state: HashState, weights: Tensor, kept: Tensor, added: Tensor) -> HashState:
        return change_values(state, kept, added)

    def _scan(self, state: HashState, steps: ScanSteps) -> tuple[Tensor, HashState]:
        if is_traced(steps.query):
            return super()._scan(state, steps)
        return scan_candidates(self, state, self._full_steps(steps))

    def entries(self, state: HashState) -> Entries:
        """Return all N slots; keys and values of free slots are zero."""
        return stamped_entries(state)

    def inspect(self, state: HashState) -> dict[str, Tensor]:
        """Return ``occupancy`` ``(…,)``, ``presence`` and ``age`` in writes ``(…, N)``, and ``bucket_fill``.

        ``bucket_fill`` ``(…, tables, buckets)`` is the share of each bucket that holds valid indices.
        """
        presence = self.entries(state).filled
        live = presence > 0
        return {
            "occupancy": live.float().mean(-1),
            "presence": presence,
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
