"""Entries found by hashing: a read, a write and an erase cost the same however many there are."""

import math
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.state import register_state
from recollect.storages.arguments import check_attention, check_buckets, check_positive
from recollect.storages.base import Storage
from recollect.storages.hash_tables import HashTables, candidates, empty_tables, insert_, valid
from recollect.storages.hashing import hash_multipliers, hash_planes, multiply_shift_hash, sign_hash
from recollect.storages.near import cosine_near, fade, match_near, read_near
from recollect.storages.places import (
    FreePlaces,
    add_where_,
    all_free,
    let_go_,
    look,
    own_integers,
    put_,
    rows_at,
    take_,
)
from recollect.storages.results import Entries, Read
from recollect.storages.slots import put_rows, put_rows_, without_repeats


@register_state
class HashState(NamedTuple):
    """State of a ``HashStorage``.

    Attributes:
        keys: ``(…, N, K)``, int64 where keys are integers.
        values: ``(…, N, V)``.
        presence: ``(…, N)`` in [0, 1]; of a free place it carries no meaning.
        stamp: ``(…, N)`` int64, the number of the write that an entry comes from; 0 for a free place.
        filings: ``(…, N)`` int64, in how many tables an entry still stands.
        tables: The indices, by hash.
        free: The free places.
        hand: ``(…,)`` int64, which place is evicted next when none is free.
        clock: ``(…,)`` int64, how many entries have been written so far.
    """

    keys: Tensor
    values: Tensor
    presence: Tensor
    stamp: Tensor
    filings: Tensor
    tables: HashTables
    free: FreePlaces
    hand: Tensor
    clock: Tensor


@final
class HashStorage(Storage[HashState]):
    """Entries found by hashing: weight ∝ presence · exp(sharpness · cosine) over the query's candidates only.

    A key has one bucket in each of several tables; an entry is kept once, and its index is filed in those
    buckets. A query's candidates are what stands in its buckets: ``tables · capacity`` entries at most, each
    counted once. No verb costs more when there are more entries (what changes them, with ``inplace=True``).

    - Real keys are hashed by signed random projections (see ``sign_hash``): a query finds an entry at angle θ
      with probability 1 − (1 − (1 − θ/π)^log₂(buckets))^tables, always where its key is the query. Each write
      makes a new entry, also for a key that is there already: a read then weighs both.
    - Integer keys (``integer_keys=True``: entity ids, or n-grams of K tokens) are hashed by
      ``multiply_shift_hash`` and found by equality alone. A write to a key that is there already replaces its
      value and presence: an upsert.

    A write at strength 0 makes no entry, and removes the one that an integer key has. Past capacity

    - a full bucket drops the index that was filed first. An entry that has lost its last index is gone;
    - a full store evicts the entry under a hand that goes round the places: the oldest one, as long as none
      was given back. A free place is always filled before anything is evicted.

    The hash is fixed by ``seed`` and saved with the module: a state is read by a storage with the same hash.

    Args:
        key_size: Width K of keys and queries; for integer keys, how many integers make a key.
        value_size: Width V of values.
        buckets: Buckets of each table, a power of two.
        capacity: Indices a bucket holds.
        tables: Independent tables; 4 for real keys and 1 for integers by default.
        entries: Number N of entries at most; ``buckets · capacity`` by default.
        integer_keys: Whether keys are integers.
        sharpness: Initial factor on the cosine.
        learn_sharpness: Whether the factor is a parameter (kept positive).
        match_start: Cosine up to which ``erase`` leaves an entry alone; up to 0.999 its match rises to 1.
        seed: Of the hash.

    Raises:
        ValueError: If an argument is out of range, or keys are of the wrong kind, real or integer.

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
        self.capacity = capacity
        self.tables = tables
        self.integer_keys = integer_keys
        self.match_start = match_start
        self.bits = buckets.bit_length() - 1
        self.hash: Tensor
        integers, reals = (key_size, tables, seed), (key_size, tables, self.bits, seed)
        self.register_buffer("hash", hash_multipliers(*integers) if integer_keys else hash_planes(*reals))
        learnt = learn_sharpness and not integer_keys
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness)), requires_grad=learnt)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> HashState:
        """No entries; the clock stands at zero."""
        new = self._new(device, dtype)
        whole = {"device": new["device"], "dtype": torch.int64}
        return HashState(
            keys=torch.zeros(*batch, self.size, self.key_size, **(whole if self.integer_keys else new)),
            values=torch.zeros(*batch, self.size, self.value_size, **new),
            presence=torch.zeros(*batch, self.size, **new),
            stamp=torch.zeros(*batch, self.size, **whole),
            filings=torch.zeros(*batch, self.size, **whole),
            tables=empty_tables(*batch, self.tables, self.buckets, self.capacity, device=new["device"]),
            free=all_free(*batch, size=self.size, device=new["device"]),
            hand=torch.zeros(batch, **whole),
            clock=torch.zeros(batch, **whole),
        )

    def _read(self, state: HashState, query: Tensor) -> Read:
        slots, found = candidates(state.tables, state.stamp, self._codes(query))
        if self.integer_keys:
            found = found & (rows_at(state.keys, slots) == query.unsqueeze(-2)).all(-1)
            scores = torch.zeros_like(slots, dtype=state.values.dtype)
        else:
            scores = cosine_near(query, state.keys, slots) * self.log_sharpness.exp()
        return read_near(state.values, state.presence, slots, found, scores)

    def _write(
        self, state: HashState, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> HashState:
        return self._place(state, key, value, strength, mask, inplace)[0]

    def _place(
        self, state: HashState, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> tuple[HashState, Tensor]:
        state = state if inplace else own_integers(state)
        codes, live = self._codes(key), strength > 0
        steps = [
            self._settle_(state, key[..., w, :], codes[..., w, :], live[..., w], mask[..., w])
            for w in range(key.shape[-2])
        ]
        if not steps:
            return state, torch.zeros_like(mask, dtype=torch.int64)
        slots, mask = (torch.stack(column, -1) for column in zip(*steps, strict=True))
        put, once = put_rows_ if inplace else put_rows, without_repeats(slots, mask)
        values, presence = put(state.values, value, slots, once), put(state.presence, strength, slots, once)
        keys = state.keys if self.integer_keys else put(state.keys, key, slots, once)
        return state._replace(keys=keys, values=values, presence=presence), slots

    def _settle_(
        self, state: HashState, key: Tensor, codes: Tensor, live: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Find a place for one entry an item and file it, in place, but for what can be differentiated.

        Args:
            state: Its integers are changed.
            key: ``(…, K)``.
            codes: ``(…, tables)``.
            live: ``(…,)`` whether the entry's strength is above zero.
            mask: ``(…,)``.

        Returns:
            The place ``(…,)``, and whether anything is written there, ``(…,)`` bool.
        """
        known, there = self._known(state, key, codes)
        fresh = mask & live & ~there
        evict = fresh & (state.free.left == 0)
        slot = torch.where(there, known, take_(state.free, state.hand, fresh))
        state.hand.copy_(torch.where(evict, (state.hand + 1) % self.size, state.hand))
        mask = mask & (live | there)
        number = state.clock + 1
        put_(state.stamp, slot, number, mask)
        put_(state.filings, slot, self.tables, mask)
        dropped, was = insert_(state.tables, state.stamp, codes, slot, number, mask)
        add_where_(state.filings, dropped, torch.full_like(dropped, -1), was)
        # Dropped by several tables at once, an entry is still let go only once.
        again = ((dropped.unsqueeze(-1) == dropped.unsqueeze(-2)) & was.unsqueeze(-2)).tril(-1).any(-1)
        let_go_(state.stamp, state.free, dropped, was & ~again & (state.filings.gather(-1, dropped) == 0))
        if self.integer_keys:
            flat = state.keys.view(*state.keys.shape[:-2], self.size * self.key_size)
            places = slot.unsqueeze(-1) * self.key_size + torch.arange(self.key_size, device=key.device)
            add_where_(flat, places, key - flat.gather(-1, places), mask.unsqueeze(-1))
            let_go_(state.stamp, state.free, slot.unsqueeze(-1), (mask & ~live).unsqueeze(-1))
        state.clock.add_(mask)
        return slot, mask

    def _known(self, state: HashState, key: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Where an integer key stands (…,), and whether it does, bool; a real key is always a new one."""
        if not self.integer_keys:
            return torch.zeros_like(state.hand), torch.zeros_like(state.hand, dtype=torch.bool)
        slots, found = candidates(state.tables, state.stamp, codes.unsqueeze(-2))
        same = found & (rows_at(state.keys, slots) == key.unsqueeze(-2).unsqueeze(-2)).all(-1)
        same, slots = same.squeeze(-2), slots.squeeze(-2)
        return look(slots, same.to(torch.uint8).argmax(-1)), same.any(-1)

    def _erase(
        self, state: HashState, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> HashState:
        state = state if inplace else own_integers(state)
        slots, found = candidates(state.tables, state.stamp, self._codes(key))  # (…, E, tables · capacity)
        if self.integer_keys:
            matched = (rows_at(state.keys, slots) == key.unsqueeze(-2)).all(-1).to(strength.dtype)
        else:
            matched = match_near(key, state.keys, slots, self.match_start)
        lost = (strength.unsqueeze(-1) * matched).masked_fill(~(found & mask.unsqueeze(-1)), 0)
        presence = state.presence
        for e in range(key.shape[-2]):
            near = slots[..., e, :]
            presence, gone = fade(presence, state.stamp, near, lost[..., e, :], inplace)
            let_go_(state.stamp, state.free, near, gone)
        return state._replace(presence=presence)

    def _update(
        self, state: HashState, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool
    ) -> HashState:
        mask = mask & (state.stamp.gather(-1, slots) > 0)
        put = put_rows_ if inplace else put_rows
        return state._replace(values=put(state.values, value, slots, without_repeats(slots, mask)))

    def _places(self, state: HashState) -> int:
        return state.presence.shape[-1]

    def entries(self, state: HashState) -> Entries:
        """All N places, free ones with presence zero."""
        return Entries(state.keys, state.values, state.presence.masked_fill(state.stamp == 0, 0))

    def inspect(self, state: HashState) -> dict[str, Tensor]:
        """Occupancy (…,), presence and age in writes (…, N), fill of the buckets (…, tables, buckets)."""
        live = state.stamp > 0
        return {
            "occupancy": live.float().mean(-1),
            "presence": self.entries(state).filled,
            "age": (state.clock.unsqueeze(-1) - state.stamp).masked_fill(~live, 0),
            "bucket_fill": valid(state.tables, state.stamp).float().mean(-1),
        }

    def _codes(self, key: Tensor) -> Tensor:
        if self.integer_keys:
            return multiply_shift_hash(key, self.hash, self.bits)
        return sign_hash(key, self.hash)

    def _check(self, state: HashState, rows: Tensor, name: str, size: int, mask: Tensor | None) -> Tensor:
        if name in ("query", "key") and rows.is_floating_point() == self.integer_keys:
            expected = "integers (integer_keys=True)" if self.integer_keys else "floating point"
            raise ValueError(f"{name} must be {expected}, got {rows.dtype}")
        return super()._check(state, rows, name, size, mask)

    def extra_repr(self) -> str:
        """The sizes, for ``print``."""
        sizes = f"buckets={self.buckets}, capacity={self.capacity}, tables={self.tables}, entries={self.size}"
        return f"{super().extra_repr()}, {sizes}, integer_keys={self.integer_keys}"
