"""A doubly linked list of entries: O(1) to read, write, erase and follow."""

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
from recollect.ops.free_list import full_free_list, pop
from recollect.ops.hash_table import (
    Candidates,
    candidates,
    empty_tables,
    find_buckets,
    insert,
    lookup,
    rows_to_insert,
)
from recollect.ops.hashing import hash_planes, sign_hash
from recollect.ops.indexing import (
    assign,
    gather_rows,
    masked_put,
    scatter_rows,
    scatter_rows_,
    split_rows,
)
from recollect.ops.inspection import is_traced
from recollect.ops.linked_list import append, empty_linked_list, first_slots, remove
from recollect.ops.list_splice import find_anchors, splice
from recollect.ops.masking import apply_mask
from recollect.ops.slot_policies import next_evicted
from recollect.state import Entries, Read
from recollect.storages.candidate_scan import scan_candidates
from recollect.storages.candidates import (
    change_values,
    erase_candidates,
    free_slots,
    stamped_entries,
    update_values,
)
from recollect.storages.linked_state import LinkedState, mark_used, unlink
from recollect.storages.ordered import Direction, OrderedStorage
from recollect.storages.scan import ScanSteps
from recollect.validation import check_attention, check_buckets, check_positive


@final
class LinkedStorage(OrderedStorage[LinkedState]):
    """A doubly linked list whose entries are found by hashing their keys.

    A read by content weighs the query's candidates in several hash tables by presence · exp(sharpness ·
    cosine), as a ``HashStorage`` of real keys does. ``follow`` moves each weight along one pointer. No method
    costs more when there are more entries (with ``inplace=True`` for those that change the state). Pointers
    have no gradient; keys, values, queries and strengths have. For differentiable links, see
    ``TemporalLinkStorage``.

    A write at strength 0 makes no entry. An entry is removed, and its neighbours are joined, once a key
    erases it completely. A full bucket drops the index that was written or used longest ago; an entry that
    has lost its last index is only found along the links.

    Writing up to N − 1 rows, or erasing any number, gives what single rows would in a number of operations
    that grows with the logarithm of their number. More than a few rows cost O(N).

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.
        slots: Number N of entries at most.
        sharpness: Initial factor on the cosine.
        learn_sharpness: Make the factor a parameter (kept positive).
        match_start: Cosine up to which ``erase`` leaves an entry alone; the match rises to 1 at cosine 0.999.
        buckets: Buckets per table, a power of two; by default enough to hold 2 N indices.
        capacity: Indices per bucket.
        tables: Number of independent tables.
        seed: Seed of the hash, which is saved with the module.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> storage = LinkedStorage(key_size=3, value_size=1, slots=8)
        >>> keys, values = torch.eye(3), torch.tensor([[1.0], [2.0], [3.0]])
        >>> state = storage.write(storage.initial_state(), keys[[0, 2]], values[[0, 2]])
        >>> state = storage.write(state, keys[1:2], values[1:2], after=torch.tensor([0]))
        >>> storage.follow(state, storage.read(state, keys[1:2])).value.round()
        tensor([[3.]])
    """

    def __init__(
        self,
        key_size: int,
        value_size: int,
        slots: int,
        sharpness: float = 10.0,
        learn_sharpness: bool = False,
        match_start: float = 0.5,
        buckets: int | None = None,
        capacity: int = 8,
        tables: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(key_size, value_size, slots)
        check_positive(capacity=capacity, tables=tables)
        if buckets is None:
            buckets = 1 << ((2 * slots - 1) // capacity).bit_length()
        check_buckets(buckets)
        check_attention(sharpness, match_start)
        self.table_shape = (tables, buckets, capacity)
        self.match_start = match_start
        self.hash: Tensor
        self.register_buffer("hash", hash_planes(key_size, tables, buckets.bit_length() - 1, seed))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness)), requires_grad=learn_sharpness)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LinkedState:
        """Return a state without entries."""
        kwargs = self._factory_kwargs(device, dtype)
        where = kwargs["device"]
        return LinkedState(
            keys=torch.zeros(*batch, self.slots, self.key_size, **kwargs),
            values=torch.zeros(*batch, self.slots, self.value_size, **kwargs),
            presence=torch.zeros(*batch, self.slots, **kwargs),
            stamp=torch.zeros(*batch, self.slots, device=where, dtype=torch.int64),
            order=empty_linked_list(*batch, size=self.slots, device=where),
            usage=empty_linked_list(*batch, size=self.slots, device=where),
            tables=empty_tables(*batch, *self.table_shape, device=where),
            free=full_free_list(*batch, size=self.slots, device=where),
            clock=torch.zeros(batch, device=where, dtype=torch.int64),
            rejected=torch.zeros(batch, device=where, dtype=torch.int64),
        )

    def _read(self, state: LinkedState, query: Tensor) -> Read:
        slots, found = lookup(state.tables, state.stamp, sign_hash(query, self.hash))
        scores, found = self._score(query, state.keys, slots, found)
        present = candidate_presence(state.presence, slots, found)
        return candidate_attention(state.values, present, slots, scores)

    def _candidates(self, state: LinkedState, key: Tensor) -> Candidates:
        return candidates(state.tables, state.stamp, sign_hash(key, self.hash))

    def _score(self, query: Tensor, keys: Tensor, slots: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of candidates ``(…, Q, C)``, and which of them count, bool."""
        return candidate_cosine(query, keys, slots, found) * self.log_sharpness.exp(), found

    def _matched(self, key: Tensor, keys: Tensor, slots: Tensor, found: Tensor) -> Tensor:
        """Degree to which a key names each of its candidates, ``(…, E, C)``; zero where not found."""
        return candidate_match(key, keys, slots, found, self.match_start)

    def _follow(
        self, state: LinkedState, weights: Tensor, slots: Tensor | None, direction: Direction
    ) -> Read:
        if slots is None:
            slots = torch.arange(self.slots, device=weights.device).expand(weights.shape)
        pointers = state.order.next if direction == "forward" else state.order.prev
        flat = slots.flatten(-2)  # (…, Q · k)
        moved, live = pointers.gather(-1, flat), state.stamp.gather(-1, flat) > 0
        exists = ((moved < self.slots) & live).reshape(slots.shape)
        moved = moved.view_as(slots).masked_fill(~exists, 0)
        weights = weights.masked_fill(~exists, 0)
        rows = apply_mask(gather_rows(state.values, moved), exists)  # (…, Q, k, V)
        return Read((weights.to(rows.dtype).unsqueeze(-2) @ rows).squeeze(-2), weights, moved)

    def _insert(
        self,
        state: LinkedState,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        mask: Tensor,
        after: Tensor | None,
        inplace: bool,
    ) -> tuple[LinkedState, Tensor]:
        # A block of rows evicts no row of its own, and leaves an entry that may be spared.
        block, placed = max(1, min(self.slots - 1, rows_to_insert(state.tables, mask))), []
        rows = (key, value, strength) if after is None else (key, value, strength, after)
        for *block_rows, now in split_rows(block, *rows, mask):
            state, slots = self._insert_block(state, now, *block_rows, inplace=inplace)
            inplace = inplace or not torch.is_grad_enabled()  # what has been changed is a copy by now
            placed.append(slots)
        return state, torch.cat(placed, -1)

    def _insert_block(
        self,
        state: LinkedState,
        mask: Tensor,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        after: Tensor | None = None,
        *,
        inplace: bool,
    ) -> tuple[LinkedState, Tensor]:
        """Insert fewer entries than there are slots, or a single one."""
        mask = mask & (strength.to(state.presence.dtype) > 0)
        free, popped, short = pop(state.free, mask, inplace)
        evicts = mask & (short >= 0)
        oldest = first_slots(state.usage, mask.shape[-1] + 1)
        evicted = next_evicted(oldest, short.clamp_min(0), evicts, after, self.slots)
        slots = torch.where(evicts, evicted, popped)
        if after is None:
            order = append(remove(state.order, slots, evicts, inplace), slots, mask, inplace)
        else:
            anchors = find_anchors(state.stamp, slots, after, mask)
            order = splice(state.order, slots, anchors, mask, evicts, inplace)
        usage = append(remove(state.usage, slots, evicts, inplace), slots, mask, inplace)
        number = state.clock.unsqueeze(-1) + mask.cumsum(-1)
        buckets = find_buckets(state.tables, sign_hash(key, self.hash))
        tables = insert(state.tables, state.stamp, buckets, slots, number, mask, inplace).tables
        stamp = masked_put(state.stamp, slots, number, mask, inplace)
        clock = assign(state.clock, state.clock + mask.sum(-1), inplace)
        scatter = scatter_rows_ if inplace else scatter_rows
        keys, values, presence = (
            scatter(old, new, slots, mask) for old, new in zip(state[:3], (key, value, strength), strict=True)
        )
        new = keys, values, presence, stamp, order, usage, tables, free, clock, state.rejected
        return LinkedState(*new), slots

    def _erase(
        self, state: LinkedState, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> LinkedState:
        for rows in split_rows(rows_at_once(mask, self.table_shape, self.key_size), key, strength, mask):
            state = self._erase_rows(state, rows, inplace)
            inplace = inplace or not torch.is_grad_enabled()  # what has been changed is a copy by now
        return state

    def _erase_rows(self, state: LinkedState, rows: tuple[Tensor, ...], inplace: bool) -> LinkedState:
        key, strength, mask = rows
        found = self._candidates(state, key)
        some = found.once & mask.unsqueeze(-1)  # each entry is compared once; others look up slot 0
        matched = self._matched(key, state.keys, found.slots.masked_fill(~some, 0), some)
        state, freed = erase_candidates(state, found, strength.unsqueeze(-1) * matched, inplace)
        return unlink(state, found.slots.flatten(-2), freed.flatten(-2), inplace)

    def _update(
        self, state: LinkedState, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool
    ) -> LinkedState:
        mask = mask & (state.stamp.gather(-1, slots) > 0)
        state = mark_used(state, self._codes_at(state, slots), slots, mask, inplace)
        return update_values(state, slots, value, mask, inplace)

    def touch(self, state: LinkedState, read: Read) -> LinkedState:
        """Mark the entry that each query of ``read`` weighed most as the most recently used."""
        if read.weights is None:
            raise ValueError("this read has no weights: it did not come from a storage with entries")
        highest, best = read.weights.max(-1, keepdim=True)
        slots = (best if read.slots is None else read.slots.gather(-1, best)).squeeze(-1)
        used = (highest.squeeze(-1) > 0) & (state.stamp.gather(-1, slots) > 0)
        return mark_used(state, self._codes_at(state, slots), slots, used, inplace=False)

    def _erase_slots(self, state: LinkedState, slots: Tensor, mask: Tensor, inplace: bool) -> LinkedState:
        state, freed = free_slots(state, self._codes_at(state, slots), slots, mask, inplace)
        return unlink(state, slots, freed, inplace)

    def _write_at(self, state: LinkedState, weights: Tensor, kept: Tensor, added: Tensor) -> LinkedState:
        return change_values(state, kept, added)

    def _scan(self, state: LinkedState, steps: ScanSteps) -> tuple[Tensor, LinkedState]:
        if is_traced(steps.query):
            return super()._scan(state, steps)
        return scan_candidates(self, state, self._full_steps(steps))

    def entries(self, state: LinkedState) -> Entries:
        """Return all N slots; keys and values of free slots are zero."""
        return stamped_entries(state)

    def inspect(self, state: LinkedState) -> dict[str, Tensor]:
        """Return ``occupancy`` ``(…,)``, and ``presence``, ``age`` in writes and ``previous`` ``(…, N)``.

        ``previous`` is the entry that each entry comes after; −1 for none.
        """
        live = state.stamp > 0
        previous = state.order.prev[..., :-1]
        return {
            "occupancy": live.float().mean(-1),
            "presence": self.entries(state).filled,
            "age": (state.clock.unsqueeze(-1) - state.stamp).masked_fill(~live, 0),
            "rejected": state.rejected,
            "previous": previous.masked_fill(~live | (previous == self.slots), -1),
        }

    def _codes_at(self, state: LinkedState, slots: Tensor) -> Tensor:
        """Buckets ``(…, n, tables)`` of the keys at ``slots`` ``(…, n)``."""
        return sign_hash(gather_rows(state.keys, slots.unsqueeze(-1)).squeeze(-2), self.hash)

    def extra_repr(self) -> str:
        """The sizes, for ``repr``."""
        tables, buckets, capacity = self.table_shape
        return f"{super().extra_repr()}, buckets={buckets}, capacity={capacity}, tables={tables}"
