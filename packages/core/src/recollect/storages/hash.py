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
    rows_at_once,
)
from recollect.ops.distance import Metric
from recollect.ops.free_list import FreeList, full_free_list, release
from recollect.ops.groups import group_rows
from recollect.ops.hash_table import (
    Buckets,
    HashTables,
    candidates,
    clear,
    empty_tables,
    find_buckets,
    insert,
    lookup,
    restamp,
    rows_to_insert,
    valid_indices,
)
from recollect.ops.hashing import hash_multipliers, hash_planes, multiply_shift_hash, sign_hash
from recollect.ops.indexing import (
    assign,
    gather_rows,
    mask_repeats,
    masked_put,
    scatter_rows,
    scatter_rows_,
    split_rows,
)
from recollect.ops.masking import zero_empty
from recollect.ops.upserts import Clock, Known, meet
from recollect.state import Entries, Read, register_state
from recollect.storages.neighbors import Neighbors, nearest_candidates
from recollect.storages.slot import SlotStorage
from recollect.validation import check_attention, check_buckets, check_positive

MANY = 1024
"""Rows with integer keys that are written at once even to a smaller store."""


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

    def _neighbors(self, state: HashState, query: Tensor, k: int, metric: Metric) -> Neighbors:
        slots, found = lookup(state.tables, state.stamp, self._codes(query))
        found = found & (state.presence.gather(-1, slots.flatten(-2)).view_as(slots) > 0)
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
        state = self._file(state, buckets, slots, number, fresh, inplace)
        state = state._replace(clock=assign(state.clock, state.clock + written.sum(-1), inplace))
        scatter, last = scatter_rows_ if inplace else scatter_rows, mask_repeats(slots, written)
        keys, values, presence = (
            scatter(old, new, slots, last) for old, new in zip(state[:3], (key, value, strength), strict=True)
        )
        return state._replace(keys=keys, values=values, presence=presence), slots

    def _file(
        self, state: HashState, buckets: Buckets, slots: Tensor, number: Tensor, fresh: Tensor, inplace: bool
    ) -> HashState:
        """Take ``slots`` for the rows ``fresh``, stamp them with their numbers and index them."""
        added = insert(state.tables, state.stamp, buckets, slots, number, fresh, inplace)
        fewer = state.index_count.scatter_add_ if inplace else state.index_count.scatter_add
        count = fewer(-1, added.dropped, -added.was_valid.to(torch.int64))
        # An entry without any index is out of reach. Its slot is taken again when the hand comes to it.
        reached = torch.where(count.gather(-1, added.dropped) > 0, state.stamp.gather(-1, added.dropped), 0)
        stamp = (state.stamp.scatter_ if inplace else state.stamp.scatter)(-1, added.dropped, reached)
        last = mask_repeats(slots, fresh)
        stamp = masked_put(stamp, slots, number.masked_fill(added.holding == 0, 0), last, inplace)
        count = masked_put(count, slots, added.holding, last, inplace)
        evicting = (fresh.sum(-1) - state.free.size).clamp_min(0)
        left = (state.free.size - fresh.sum(-1)).clamp_min(0)
        hand = assign(state.hand, (state.hand + evicting) % self.size, inplace)
        free = FreeList(state.free.stack, assign(state.free.size, left, inplace))
        return state._replace(stamp=stamp, index_count=count, tables=added.tables, free=free, hand=hand)

    def _meet(
        self, state: HashState, key: Tensor, codes: Tensor, buckets: Buckets, clock: Clock, writes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Slots ``(…, W)`` of integer keys, and which exist when written, bool; real keys never do."""
        if not self.integer_keys:
            return torch.zeros_like(writes, dtype=torch.int64), torch.zeros_like(writes)
        slots, found = lookup(state.tables, state.stamp, codes)
        same = found & (gather_rows(state.keys, slots) == key.unsqueeze(-2)).all(-1)
        found, best = same.max(-1)
        slots = slots.gather(-1, best.unsqueeze(-1)).squeeze(-1)
        if key.shape[-2] <= 1:  # there are no rows before it
            return slots, found
        filed = state.stamp.gather(-1, slots).unsqueeze(-2).unsqueeze(-1)
        # Its number among the places of the bucket, which new indices take in this order.
        turn = (buckets.filed < filed).sum(-1)
        entry = gather_rows(state.tables.entry.flatten(-3, -2), buckets.bucket)
        here = (entry == slots.unsqueeze(-2).unsqueeze(-1)) & (buckets.filed == filed)
        turn = turn.masked_fill(~here.any(-1), -1)
        known = Known(slots, found, clock.eviction(slots), turn)
        return meet(group_rows(key.unbind(-1)), buckets.groups, known, writes, clock, self.bucket_capacity)

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
        slots, found, once, positions = candidates(state.tables, state.stamp, self._codes(key))
        if self.integer_keys:
            matched = (gather_rows(state.keys, slots) == key.unsqueeze(-2)).all(-1).to(strength.dtype)
        else:
            matched = candidate_match(key, state.keys, slots, found, self.match_start)
        found = found & mask.unsqueeze(-1)
        lost = (strength.unsqueeze(-1) * matched).masked_fill(~found, 0)
        presence, gone = decay_presence(state.presence, slots, lost, once, inplace)
        stamp, free, freed = release(state.stamp, state.free, slots, gone, once, inplace)
        tables = clear(state.tables, positions.flatten(-2), freed.flatten(-2), inplace)
        return state._replace(presence=presence, stamp=stamp, free=free, tables=tables)

    def _update(
        self, state: HashState, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool
    ) -> HashState:
        mask = mask & (state.stamp.gather(-1, slots) > 0)
        scatter = scatter_rows_ if inplace else scatter_rows
        return state._replace(values=scatter(state.values, value, slots, mask_repeats(slots, mask)))

    def _erase_slots(self, state: HashState, slots: Tensor, mask: Tensor, inplace: bool) -> HashState:
        live, once = mask & (state.stamp.gather(-1, slots) > 0), torch.ones_like(mask)
        codes = self._codes(gather_rows(state.keys, slots.unsqueeze(-1)).squeeze(-2))
        last, number = mask_repeats(slots, live), torch.zeros_like(slots)
        tables = restamp(state.tables, state.stamp, codes, slots, number, last, inplace)
        slots, live, once = (rows.unsqueeze(-1) for rows in (slots, live, once))
        stamp, free, _ = release(state.stamp, state.free, slots, live, once, inplace)
        return state._replace(stamp=stamp, free=free, tables=tables)

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
