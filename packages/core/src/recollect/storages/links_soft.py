"""Linked entries whose order is a matter of degree, and differentiable."""

from collections.abc import Callable
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor

from recollect.state import map_state, register_state
from recollect.storages.arguments import check_positive
from recollect.storages.attention import match
from recollect.storages.links import Direction, Links
from recollect.storages.links_dense import LinkMatrix, no_link_matrix, places
from recollect.storages.links_sparse import LinkRows, no_link_rows
from recollect.storages.results import Entries, Read
from recollect.storages.vector import VectorState, VectorStorage, put_entries

NEVER = torch.iinfo(torch.int64).max
"""Later than any write: the usage of an entry that is not to be evicted."""


@register_state
class SoftLinksState(NamedTuple):
    """State of a ``SoftLinks``.

    Attributes:
        nodes: The entries, without their order.
        links: Their order.
    """

    nodes: VectorState
    links: LinkMatrix | LinkRows


@final
class SoftLinks(Links[SoftLinksState]):
    """Entries linked by weights: the temporal memory linkage of the Differentiable Neural Computer.

    L[i, j] is the degree to which entry i comes right after entry j, and p[j] that to which j is the last one
    (Graves et al. 2016, Nature 538:471, Methods, "Temporal memory linkage"). A write of strength s to slot i,
    that is with the DNC's write weighting w = s · e_i, gives

        L[a, b] ← (1 − w[a] − w[b]) L[a, b] + w[a] p[b],   p ← (1 − Σ w) p + w

    and a read with weights r is followed by L r forward and Lᵀ r backward. Beyond the DNC, an entry can be
    linked after a given one a: it takes the share s of whatever left a. And one that is erased to the degree
    e leaves its neighbours joined: L[b, a] gains e · L[b, i] · L[i, a] / u, where u is what passes through i
    (1 after writes of strength 1), p[a] gains e · p[i] · L[i, a] / u, and row i, column i and p[i] fade by
    1 − e. So an erase right after the write undoes it, in the links as in the entries.

    ``kept`` keeps the k largest links of each entry only, as the Sparse DNC does (Rae et al. 2016,
    arXiv:1610.09027, "Sparse access memory"): with N entries, O(N · k) instead of O(N²) for a write or a
    ``follow``, and O(N · k²) instead of O(N³) for an erase, apart from logarithms.

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.
        slots: Number N of entries at most.
        kept: Number k of links of an entry that are kept, N at most; ``None`` keeps all, as a matrix.
        similarity: ``"cosine"`` or ``"dot"``.
        sharpness: Initial factor on the similarity; 10 for cosine and 1/√K for dot by default.
        learn_sharpness: Whether the factor is a parameter (kept positive).
        top_k: Attend to the k best entries only when reading by content; all by default.
        match_start: Cosine up to which ``erase`` leaves an entry alone; up to 0.999 its match rises to 1.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> storage = SoftLinks(key_size=2, value_size=1, slots=4)
        >>> keys, values = torch.eye(2), torch.tensor([[5.0], [7.0]])
        >>> state = storage.write(storage.initial_state(), keys, values)
        >>> first = storage.read(state, keys[:1])
        >>> storage.follow(state, first).value.round()
        tensor([[7.]])
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
    ) -> SoftLinksState:
        """No entries and no links."""
        new = self._new(device, dtype)
        nodes = self.nodes.initial_state(*batch, **new)
        if self.kept is None:
            return SoftLinksState(nodes, no_link_matrix(batch, self.slots, **new))
        return SoftLinksState(nodes, no_link_rows(batch, self.slots, self.kept, **new))

    def _read(self, state: SoftLinksState, query: Tensor) -> Read:
        return self.nodes.read(state.nodes, query)

    def reader(self, state: SoftLinksState) -> Callable[[Tensor], Read]:
        """As ``Storage.reader``."""
        return self.nodes.reader(state.nodes)

    def _follow(
        self, state: SoftLinksState, weights: Tensor, slots: Tensor | None, direction: Direction
    ) -> Read:
        if slots is not None:
            everywhere = weights.new_zeros(*weights.shape[:-1], self.slots)
            weights = everywhere.scatter_add(-1, slots, weights)
        moved = state.links.move(weights, direction == "forward")
        return Read(moved.to(state.nodes.values.dtype) @ state.nodes.values, moved, None)

    def _link(
        self,
        state: SoftLinksState,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        mask: Tensor,
        after: Tensor,
        inplace: bool,
    ) -> tuple[SoftLinksState, Tensor]:
        slots = [after[..., :0]]
        for w in range(key.shape[-2]):
            now = slice(w, w + 1)
            rows = (key[..., now, :], value[..., now, :], strength[..., now], state.nodes.clock.unsqueeze(-1))
            state, slot = self._link_one(state, rows, mask[..., now], after[..., now], inplace)
            slots.append(slot)
        return state, torch.cat(slots, -1)

    def _link_one(
        self, state: SoftLinksState, rows: tuple[Tensor, ...], mask: Tensor, after: Tensor, inplace: bool
    ) -> tuple[SoftLinksState, Tensor]:
        """One entry, and its slot (…, 1): ``rows`` are its key, value, strength and number."""
        presence, usage = state.nodes.presence, state.nodes.usage
        named, after = after >= 0, after.clamp_min(0)
        spared = places(after, self.slots) & named
        reluctance = torch.where(spared, usage.new_tensor(NEVER), usage + 1)
        slot = torch.where(presence > 0, reluctance, 0).argmin(-1, keepdim=True)
        given = named & (presence.gather(-1, after) > 0) & (after != slot)
        links = state.links.unlink(slot, mask).attach(slot, rows[2], after, given)
        nodes = put_entries(state.nodes, rows, slot, mask, mask, inplace)
        return SoftLinksState(nodes, _reuse(state.links, links) if inplace else links), slot

    def _erase(
        self, state: SoftLinksState, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> SoftLinksState:
        matched = match(key, state.nodes.keys, self.nodes.match_start)
        links = state.links.splice(strength.unsqueeze(-1) * matched)
        nodes = self.nodes.erase(state.nodes, key, strength, mask, inplace=inplace)
        return SoftLinksState(nodes, _reuse(state.links, links) if inplace else links)

    def _update(
        self, state: SoftLinksState, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool
    ) -> SoftLinksState:
        nodes = self.nodes.update(state.nodes, slots, value, mask, inplace=inplace)
        return state._replace(nodes=nodes)

    def entries(self, state: SoftLinksState) -> Entries:
        """All N places, free ones with presence zero."""
        return self.nodes.entries(state.nodes)

    def touch(self, state: SoftLinksState, read: Read) -> SoftLinksState:
        """Count a read as use: the entry that each query weighed most becomes the most recently used."""
        return state._replace(nodes=self.nodes.touch(state.nodes, read))

    def inspect(self, state: SoftLinksState) -> dict[str, Tensor]:
        """What ``VectorStorage.inspect`` tells, and the order.

        ``precedence`` (…, N) is the degree to which each entry is the last, ``previous`` (…, N) the entry
        that it most comes after, −1 for none.
        """
        order = {"precedence": state.links.precedence, "previous": state.links.previous()}
        return self.nodes.inspect(state.nodes) | order

    def extra_repr(self) -> str:
        """The sizes, for ``print``."""
        return super().extra_repr() if self.kept is None else f"{super().extra_repr()}, kept={self.kept}"


def _reuse(old: LinkMatrix | LinkRows, new: LinkMatrix | LinkRows) -> LinkMatrix | LinkRows:
    """``new`` in the memory of ``old``."""
    return map_state(Tensor.copy_, old, new)
