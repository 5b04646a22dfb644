"""Linked entries as nodes and pointers: O(1) to read, write, erase and follow."""

import math
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.state import register_state
from recollect.storages.arguments import check_attention, check_buckets, check_positive
from recollect.storages.chain import Chain, empty_chain, first, last, link_, unlink_, unlink_many_
from recollect.storages.hash_tables import HashTables, candidates, empty_tables, insert_
from recollect.storages.hashing import hash_planes, sign_hash
from recollect.storages.links import Direction, Links
from recollect.storages.near import cosine_near, fade, match_near, read_near
from recollect.storages.places import FreePlaces, all_free, let_go_, look, own_integers, put_, rows_at, take_
from recollect.storages.results import Entries, Read
from recollect.storages.slots import put_rows, put_rows_, without_repeats


@register_state
class HardLinksState(NamedTuple):
    """State of a ``HardLinks``.

    Attributes:
        keys: ``(…, N, K)``.
        values: ``(…, N, V)``.
        presence: ``(…, N)`` in [0, 1]; of a free slot it carries no meaning.
        stamp: ``(…, N)`` int64, the number of the write that a node comes from; 0 for a free slot.
        order: The nodes as they are linked.
        usage: The same nodes, the least recently used first.
        tables: The indices of nodes, by hash.
        free: The free slots.
        clock: ``(…,)`` int64, how many nodes have been written so far.
    """

    keys: Tensor
    values: Tensor
    presence: Tensor
    stamp: Tensor
    order: Chain
    usage: Chain
    tables: HashTables
    free: FreePlaces
    clock: Tensor


@final
class HardLinks(Links[HardLinksState]):
    """Entries linked by pointers: a doubly linked list whose nodes are found by hashing their keys.

    A read by content weighs the query's candidates in several hash tables by presence · exp(sharpness ·
    cosine), as a ``HashStorage`` of real keys does; ``follow`` moves all of a weight along one pointer. No
    verb costs more when there are more nodes (those that change them, with ``inplace=True``). Pointers have
    no gradient; keys, values, queries and strengths have theirs.

    A write at strength 0 makes no node. A node leaves when nothing of its presence is left, and its
    neighbours are joined; until then its links are whole. Where a bucket is full, the index that was filed
    first is dropped from it: a node that has lost its last index is found along the links only.

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.
        slots: Number N of nodes at most.
        sharpness: Initial factor on the cosine.
        learn_sharpness: Whether the factor is a parameter (kept positive).
        match_start: Cosine up to which ``erase`` leaves a node alone; up to 0.999 its match rises to 1.
        buckets: Buckets of each table, a power of two; by default as many as hold N indices twice over.
        capacity: Indices a bucket holds.
        tables: Independent tables.
        seed: Of the hash, which is saved with the module.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> storage = HardLinks(key_size=3, value_size=1, slots=8)
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
        self.shape = (tables, buckets, capacity)
        self.match_start = match_start
        self.hash: Tensor
        self.register_buffer("hash", hash_planes(key_size, tables, buckets.bit_length() - 1, seed))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness)), requires_grad=learn_sharpness)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> HardLinksState:
        """No nodes; the clock stands at zero."""
        new = self._new(device, dtype)
        where = new["device"]
        return HardLinksState(
            keys=torch.zeros(*batch, self.slots, self.key_size, **new),
            values=torch.zeros(*batch, self.slots, self.value_size, **new),
            presence=torch.zeros(*batch, self.slots, **new),
            stamp=torch.zeros(*batch, self.slots, device=where, dtype=torch.int64),
            order=empty_chain(*batch, size=self.slots, device=where),
            usage=empty_chain(*batch, size=self.slots, device=where),
            tables=empty_tables(*batch, *self.shape, device=where),
            free=all_free(*batch, size=self.slots, device=where),
            clock=torch.zeros(batch, device=where, dtype=torch.int64),
        )

    def _read(self, state: HardLinksState, query: Tensor) -> Read:
        slots, found = candidates(state.tables, state.stamp, sign_hash(query, self.hash))
        scores = cosine_near(query, state.keys, slots) * self.log_sharpness.exp()
        return read_near(state.values, state.presence, slots, found, scores)

    def _follow(
        self, state: HardLinksState, weights: Tensor, slots: Tensor | None, direction: Direction
    ) -> Read:
        if slots is None:
            slots = torch.arange(self.slots, device=weights.device).expand(weights.shape)
        pointers = state.order.following if direction == "forward" else state.order.preceding
        flat = slots.flatten(-2)
        moved, live = pointers.gather(-1, flat), state.stamp.gather(-1, flat) > 0
        there = ((moved < self.slots) & live).view_as(slots)
        moved = moved.view_as(slots).masked_fill(~there, 0)
        weights = weights.masked_fill(~there, 0)
        near = rows_at(state.values, moved)
        return Read((weights.to(near.dtype).unsqueeze(-2) @ near).squeeze(-2), weights, moved)

    def _link(
        self,
        state: HardLinksState,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        mask: Tensor,
        after: Tensor,
        inplace: bool,
    ) -> tuple[HardLinksState, Tensor]:
        state = state if inplace else own_integers(state)
        codes, mask = sign_hash(key, self.hash), mask & (strength > 0)
        steps = [
            self._settle_(state, codes[..., w, :], after[..., w], mask[..., w]) for w in range(key.shape[-2])
        ]
        if not steps:
            return state, torch.zeros_like(after)
        slots = torch.stack(steps, -1)
        put, once = put_rows_ if inplace else put_rows, without_repeats(slots, mask)
        keys, values, presence = (
            put(old, new, slots, once) for old, new in zip(state[:3], (key, value, strength), strict=True)
        )
        return state._replace(keys=keys, values=values, presence=presence), slots

    def _settle_(self, state: HardLinksState, codes: Tensor, after: Tensor, mask: Tensor) -> Tensor:
        """Find a slot for one node an item, link and file it, in place: all but what can be differentiated.

        Args:
            state: Its integers are changed.
            codes: ``(…, tables)``.
            after: ``(…,)``, −1 for none.
            mask: ``(…,)``.

        Returns:
            The slot ``(…,)``.
        """
        # The node to come after is spared, unless it is the only one.
        oldest = first(state.usage)
        spared = look(state.usage.following, oldest)
        oldest = torch.where((oldest == after) & (spared < self.slots), spared, oldest)
        full = mask & (state.free.left == 0)
        slot = take_(state.free, oldest.clamp_max(self.slots - 1), mask)
        given = (after >= 0) & (look(state.stamp, after.clamp_min(0)) > 0) & (after != slot)
        for chain in (state.order, state.usage):
            unlink_(chain, slot, full)
        link_(state.order, slot, torch.where(given, after, last(state.order)), mask)
        link_(state.usage, slot, last(state.usage), mask)
        number = state.clock + 1
        put_(state.stamp, slot, number, mask)
        insert_(state.tables, state.stamp, codes, slot, number, mask)
        state.clock.add_(mask)
        return slot

    def _erase(
        self, state: HardLinksState, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> HardLinksState:
        state = state if inplace else own_integers(state)
        slots, found = candidates(state.tables, state.stamp, sign_hash(key, self.hash))
        lost = strength.unsqueeze(-1) * match_near(key, state.keys, slots, self.match_start)
        lost = lost.masked_fill(~(found & mask.unsqueeze(-1)), 0)
        presence = state.presence
        for e in range(key.shape[-2]):
            near = slots[..., e, :]
            presence, gone = fade(presence, state.stamp, near, lost[..., e, :], inplace)
            for chain in (state.order, state.usage):
                unlink_many_(chain, near, gone)
            let_go_(state.stamp, state.free, near, gone)
        return state._replace(presence=presence)

    def _update(
        self, state: HardLinksState, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool
    ) -> HardLinksState:
        mask = mask & (state.stamp.gather(-1, slots) > 0)
        state = self._use(state, slots, mask, inplace)
        put = put_rows_ if inplace else put_rows
        return state._replace(values=put(state.values, value, slots, without_repeats(slots, mask)))

    def _use(self, state: HardLinksState, slots: Tensor, mask: Tensor, inplace: bool) -> HardLinksState:
        """Count nodes ``slots`` (…, n) as used, in order, where ``mask`` (…, n)."""
        usage = state.usage if inplace else own_integers(state.usage)
        for slot, now in zip(slots.unbind(-1), mask.unbind(-1), strict=True):
            unlink_(usage, slot, now)
            link_(usage, slot, last(usage), now)
        return state._replace(usage=usage)

    def touch(self, state: HardLinksState, read: Read) -> HardLinksState:
        """Count a read as use: the node that each query weighed most becomes the most recently used."""
        if read.weights is None:
            raise ValueError("this read has no weights: it did not come from a storage with entries")
        highest, best = read.weights.max(-1, keepdim=True)
        slots = (best if read.slots is None else read.slots.gather(-1, best)).squeeze(-1)
        used = (highest.squeeze(-1) > 0) & (state.stamp.gather(-1, slots) > 0)
        return self._use(state, slots, used, inplace=False)

    def _places(self, state: HardLinksState) -> int:
        return state.presence.shape[-1]

    def entries(self, state: HardLinksState) -> Entries:
        """All N slots, free ones with presence zero."""
        return Entries(state.keys, state.values, state.presence.masked_fill(state.stamp == 0, 0))

    def inspect(self, state: HardLinksState) -> dict[str, Tensor]:
        """Occupancy (…,), presence, age in writes, and the node that each comes after, −1 for none (…, N)."""
        live = state.stamp > 0
        previous = state.order.preceding[..., :-1]
        return {
            "occupancy": live.float().mean(-1),
            "presence": self.entries(state).filled,
            "age": (state.clock.unsqueeze(-1) - state.stamp).masked_fill(~live, 0),
            "previous": previous.masked_fill(~live | (previous == self.slots), -1),
        }

    def extra_repr(self) -> str:
        """The sizes, for ``print``."""
        tables, buckets, capacity = self.shape
        return f"{super().extra_repr()}, buckets={buckets}, capacity={capacity}, tables={tables}"
