"""Entries whose order is a matter of degree, and differentiable."""

from typing import Literal, NamedTuple, final

import torch
from torch import Tensor

from recollect.ops.attention import match
from recollect.ops.cached_attention import SoftmaxRead
from recollect.ops.indexing import any_slot
from recollect.ops.inspection import is_traced
from recollect.ops.link_matrix import LinkMatrix, empty_link_matrix, slot_mask
from recollect.ops.products import product
from recollect.ops.slot_policies import slots_by_use
from recollect.ops.sparse_link_matrix import SparseLinkMatrix, empty_sparse_link_matrix, is_whole
from recollect.state import Entries, Read, map_state, register_state
from recollect.storages.ordered import Direction, OrderedStorage
from recollect.storages.vector import VectorStorage
from recollect.storages.vector_state import VectorState, keep_presence, write_entries
from recollect.validation import check_positive

BLOCK_WEIGHTS = 1 << 22
"""Weights between new entries and slots that are made at once, at most."""

NEVER_EVICTED = torch.iinfo(torch.int64).max
"""Usage of an entry that must not be evicted: later than any write."""


@register_state
class TemporalLinkState(NamedTuple):
    """State of a ``TemporalLinkStorage``.

    Attributes:
        nodes: The entries, without their order.
        links: Their order.
    """

    nodes: VectorState
    links: LinkMatrix | SparseLinkMatrix


@final
class TemporalLinkStorage(OrderedStorage[TemporalLinkState]):
    """Entries linked by weights: the temporal memory linkage of the Differentiable Neural Computer.

    L[i, j] is the degree to which entry i comes right after entry j, and p[j] the degree to which j is the
    last entry (Graves et al. 2016, Nature 538:471, Methods, "Temporal memory linkage"). A write of strength s
    to slot i, which is the DNC's write weighting w = s · e_i, gives

        L[a, b] ← (1 − w[a] − w[b]) L[a, b] + w[a] p[b],   p ← (1 − Σ w) p + w

    and a read with weights r is followed by L r forward and Lᵀ r backward. Beyond the DNC, an entry can be
    inserted after a given one a: it takes over the share s of the outgoing weight of a. Erasing an entry i to
    the degree e joins its neighbours: L[b, a] gains e · L[b, i] · L[i, a] / u, where u is the throughput of i
    (1 after writes of strength 1), p[a] gains e · p[i] · L[i, a] / u, and row i, column i and p[i] are scaled
    by 1 − e. Erasing right after a write therefore undoes it, in the links as in the entries.

    ``kept`` keeps the k largest links of each entry only, as the Sparse DNC does (Rae et al. 2016,
    arXiv:1610.09027, "Sparse access memory"). A write or ``follow`` then costs O(N · k) instead of O(N²), and
    an erase O(N · k²) instead of O(N³), up to logarithms.

    A write at strength 0 changes nothing. Writing up to N rows at the end takes a number of operations that
    does not grow with them. Rows with ``after`` are inserted one by one. With ``kept``, so are rows that
    evict an entry, and keys are erased one by one, because which links are the largest depends on what was
    removed before. A chain of entries written at strength 1 never drops any: more such rows are written
    to it, and entries are erased from it completely, at once.

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.
        slots: Number N of entries at most.
        kept: Number k of links kept per entry, N at most; ``None`` keeps all, as a matrix.
        similarity: ``"cosine"`` or ``"dot"``.
        sharpness: Initial factor on the similarity; 10 for cosine and 1/√K for dot by default.
        learn_sharpness: Make the factor a parameter (kept positive).
        top_k: Attend to the k best entries only when reading by content; all by default.
        match_start: Cosine up to which ``erase`` leaves an entry alone; the match rises to 1 at cosine 0.999.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> storage = TemporalLinkStorage(key_size=3, value_size=1, slots=8)
        >>> keys, values = torch.eye(3), torch.tensor([[1.0], [2.0], [3.0]])
        >>> state = storage.write(storage.initial_state(), keys, values)
        >>> first = storage.read(state, keys[:1])
        >>> storage.follow(state, first).value.round()
        tensor([[2.]])
        >>> without_second = storage.erase(state, keys[1:2])
        >>> storage.follow(without_second, first).value.round()
        tensor([[3.]])
    """

    def __init__(
        self,
        key_size: int,
        value_size: int,
        slots: int,
        kept: int | None = None,
        similarity: Literal["cosine", "dot"] = "cosine",
        sharpness: float | None = None,
        learn_sharpness: bool = False,
        top_k: int | None = None,
        match_start: float = 0.5,
    ) -> None:
        super().__init__(key_size, value_size, slots)
        if kept is not None:
            check_positive(kept=kept)
        self.kept = None if kept is None else min(kept, slots)
        self.nodes = VectorStorage(
            key_size, value_size, slots, "lru", similarity, sharpness, learn_sharpness, top_k, match_start
        )

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> TemporalLinkState:
        """Return a state without entries and links."""
        kwargs = self._factory_kwargs(device, dtype)
        nodes = self.nodes.initial_state(*batch, **kwargs)
        if self.kept is None:
            return TemporalLinkState(nodes, empty_link_matrix(batch, self.slots, **kwargs))
        return TemporalLinkState(nodes, empty_sparse_link_matrix(batch, self.slots, self.kept, **kwargs))

    def _read(self, state: TemporalLinkState, query: Tensor) -> Read:
        return self.nodes._read(state.nodes, query)

    def _read_value(self, state: TemporalLinkState, query: Tensor) -> Tensor:
        return self.nodes._read_value(state.nodes, query)

    def _softmax_read(self, state: TemporalLinkState) -> SoftmaxRead | None:
        return self.nodes._softmax_read(state.nodes)

    def _follow(
        self, state: TemporalLinkState, weights: Tensor, slots: Tensor | None, direction: Direction
    ) -> Read:
        if slots is not None:
            everywhere = weights.new_zeros(*weights.shape[:-1], self.slots)
            weights = everywhere.scatter_add(-1, slots, weights)  # (…, Q, k) → (…, Q, N)
        moved = state.links.follow(weights, direction == "forward")
        values = self.nodes.entries(state.nodes).values
        return Read(product(moved.to(values.dtype), values), moved, None)

    def _insert(
        self,
        state: TemporalLinkState,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        mask: Tensor,
        after: Tensor | None,
        inplace: bool,
    ) -> tuple[TemporalLinkState, Tensor]:
        live = mask & (strength.to(state.nodes.presence.dtype) > 0)
        placed, first = [live[..., :0].long()], 0
        while first < live.shape[-1]:
            named = None if after is None else after[..., first:]
            count = self._rows_at_once(state, live[..., first:], strength[..., first:], named)
            now = slice(first, first + count)
            rows = key[..., now, :], value[..., now, :], strength[..., now]
            if count == 1:
                named = None if named is None else named[..., :1]
                state, slots = self._insert_one(state, rows, live[..., now], named, inplace)
            else:
                state, slots = self._append(state, rows, live[..., now], inplace)
            placed.append(slots)
            first += count
        return state, torch.cat(placed, -1)

    def _rows_at_once(
        self, state: TemporalLinkState, live: Tensor, strength: Tensor, after: Tensor | None
    ) -> int:
        """How many of the next rows can be appended at once.

        At most N, since they must not evict each other, and none that goes after a given entry. Where links
        may be dropped, none that evicts.
        """
        most, links = min(live.shape[-1], self.slots, max(1, BLOCK_WEIGHTS // self.slots)), state.links
        if most == 1 or (isinstance(links, LinkMatrix) and after is None):
            return most
        if is_traced(live) or is_traced(links.weights):
            return 1
        live, strength = live[..., :most], strength[..., :most]
        alone = torch.zeros_like(live) if after is None else live & (after[..., :most] >= 0)
        if isinstance(links, SparseLinkMatrix) and not (links.is_chain() and is_whole(strength)):
            slots = slots_by_use(state.nodes.presence, state.nodes.usage, live)
            alone = alone | (live & (state.nodes.presence.gather(-1, slots) > 0))
        together = ~alone.reshape(-1, alone.shape[-1]).any(0)
        return max(1, int(together.to(torch.int64).cumprod(-1).sum()))

    def _append(
        self, state: TemporalLinkState, rows: tuple[Tensor, ...], live: Tensor, inplace: bool
    ) -> tuple[TemporalLinkState, Tensor]:
        """Insert up to N entries at the end at once, given their keys, values and strengths."""
        links, nodes = state.links, state.nodes
        slots = slots_by_use(nodes.presence, nodes.usage, live)
        links = links.remove_all(slots, live).append_all(slots, rows[2], live)
        number = nodes.clock.unsqueeze(-1) + live.cumsum(-1) - 1
        nodes = write_entries(nodes, (*rows, number), slots, live, live, inplace)
        return TemporalLinkState(nodes, _copy_into(state.links, links) if inplace else links), slots

    def _insert_one(
        self,
        state: TemporalLinkState,
        rows: tuple[Tensor, ...],
        live: Tensor,
        after: Tensor | None,
        inplace: bool,
    ) -> tuple[TemporalLinkState, Tensor]:
        """Insert one entry, given its key, value and strength, and return its slot ``(…, 1)``."""
        presence, last_use = state.nodes.presence, state.nodes.usage + 1
        strength = rows[2] * live
        if after is None:
            slot = torch.where(presence > 0, last_use, 0).argmin(-1, keepdim=True)
            links = state.links.replace(slot, strength, live)
        else:
            named, after = after >= 0, after.clamp_min(0)
            spared = slot_mask(after, self.slots) & named
            last_use = last_use.masked_fill(spared, NEVER_EVICTED)
            slot = torch.where(presence > 0, last_use, 0).argmin(-1, keepdim=True)
            given = named & (presence.gather(-1, after) > 0) & (after != slot)
            links = state.links.remove(slot, live).insert(slot, strength, after, given)
        nodes = write_entries(
            state.nodes, (*rows, state.nodes.clock.unsqueeze(-1)), slot, live, live, inplace
        )
        return TemporalLinkState(nodes, _copy_into(state.links, links) if inplace else links), slot

    def _erase(
        self, state: TemporalLinkState, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> TemporalLinkState:
        matched = match(key, self.entries(state).keys, self.nodes.match_start)
        touched = (matched.detach() > 0).any(-2)
        erased = strength.unsqueeze(-1) * matched
        links = state.links.erase(erased, touched)
        nodes = keep_presence(state.nodes, (1 - erased).prod(-2), inplace)
        return TemporalLinkState(nodes, _copy_into(state.links, links) if inplace else links)

    def _erase_slots(
        self, state: TemporalLinkState, slots: Tensor, mask: Tensor, inplace: bool
    ) -> TemporalLinkState:
        gone = any_slot(slots, mask, self.slots)
        links = state.links.erase(gone.to(state.links.precedence.dtype).unsqueeze(-2), gone)
        nodes = self.nodes._erase_slots(state.nodes, slots, mask, inplace)
        return TemporalLinkState(nodes, _copy_into(state.links, links) if inplace else links)

    def _write_at(
        self, state: TemporalLinkState, weights: Tensor, kept: Tensor, added: Tensor
    ) -> TemporalLinkState:
        links = state.links
        for head in weights.unbind(-2):
            links = links.append(head)
        return TemporalLinkState(self.nodes._write_at(state.nodes, weights, kept, added), links)

    def _reject(self, state: TemporalLinkState, count: Tensor) -> TemporalLinkState:
        return state._replace(nodes=self.nodes._reject(state.nodes, count))

    def _update(
        self, state: TemporalLinkState, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool
    ) -> TemporalLinkState:
        nodes = self.nodes.update(state.nodes, slots, value, mask, inplace=inplace)
        return state._replace(nodes=nodes)

    def entries(self, state: TemporalLinkState) -> Entries:
        """Return all N slots; keys and values of free slots are zero."""
        return self.nodes.entries(state.nodes)

    def touch(self, state: TemporalLinkState, read: Read) -> TemporalLinkState:
        """Mark the entry that each query of ``read`` weighed most as the most recently used."""
        return state._replace(nodes=self.nodes.touch(state.nodes, read))

    def inspect(self, state: TemporalLinkState) -> dict[str, Tensor]:
        """Return the figures of ``VectorStorage.inspect``, ``precedence`` and ``previous``.

        ``precedence`` ``(…, N)`` is the degree to which each entry is the last, ``previous`` ``(…, N)`` the
        entry that it most comes after; −1 for none.
        """
        order = {"precedence": state.links.precedence, "previous": state.links.previous()}
        return self.nodes.inspect(state.nodes) | order

    def extra_repr(self) -> str:
        """The sizes, for ``repr``."""
        return super().extra_repr() if self.kept is None else f"{super().extra_repr()}, kept={self.kept}"


def _copy_into(
    old: LinkMatrix | SparseLinkMatrix, new: LinkMatrix | SparseLinkMatrix
) -> LinkMatrix | SparseLinkMatrix:
    """Copy ``new`` into the memory of ``old``."""
    return map_state(Tensor.copy_, old, new)
