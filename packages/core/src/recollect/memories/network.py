"""A memory network: a knowledge base that is queried in several hops."""

from collections.abc import Callable
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.memories.embedding import Tie, address_by_content, embeddings, of_hop
from recollect.memories.hops import AddHop, GatedHop, Hop, MlpHop
from recollect.memories.recurrence import Controller, control, controller_cell
from recollect.memories.relation import RelationNetwork
from recollect.memories.temporal import TemporalEncoding
from recollect.state import State, register_state
from recollect.storages.arguments import blank, full_mask
from recollect.storages.attention import match
from recollect.storages.base import Storage

HOPS: dict[str, type[Hop]] = {"add": AddHop, "gated": GatedHop, "mlp": MlpHop}


@register_state
class MemoryNetworkState(NamedTuple):
    """State of a ``MemoryNetwork``.

    Attributes:
        stores: States of the storage, with batch axes ``(…, H)``: one for each hop, or a single one that all
            share.
        written: ``(…,)`` int64, how many things have been written.
        hidden: ``(…, D)``, the controller's h_{t−1}.
        cell: ``(…, D)``, the LSTM controller's cell.
        context: ``(…, D)``, c_{t−1}.
    """

    stores: tuple[State, ...]
    written: Tensor
    hidden: Tensor
    cell: Tensor
    context: Tensor


@final
class MemoryNetwork(Memory[MemoryNetworkState]):
    """h_t = f(x_t, h_{t−1}, c_{t−1}); c_t = Attention(h_t, M) in several hops; y_t = g(c_t, h_t).

    End-to-end memory networks (Sukhbaatar et al. 2015, arXiv:1503.08895). M is what was written to the
    storage, with u_0 = norm(h_t + te(now)) and for each hop k, in each of H heads,

        o_k = T_k Σ_i softmax_i(Q_k u_k · A_k m_i) C_k m_i,    u_{k+1} = hop(u_k, o_k),    m_i = norm(x_i +
        te(i)).

    c_t is u after the last hop, or, with ``relation``, Σ_{i<j} g([u_i; u_j; u_0]) over all of them; and
    y_t = W [c_t; h_t]. How q · k becomes a weight is the storage's affair.

    It begins as a memory addressed by content: A and C are orthogonal, Q = A and T = Cᵀ, so that from the
    first step a query looks at what resembles it and gets that back as it was written.

    Args:
        model_size: Width D.
        storage: Where M is kept; the heads are batch items of it.
        hops: Number of hops.
        heads: Number H of heads, each with keys and values of the storage's widths.
        tie: Whose embeddings A and C are shared: ``"layer"``, the same for all hops, which then share one
            store;
            ``"adjacent"``, C_k = A_{k+1} (needs equal key and value widths); ``"none"``.
        hop: ``"add"`` (MemN2N), ``"gated"`` (Gated MemN2N) or ``"mlp"`` (Working Memory Networks).
        controller: f: ``"none"`` is h_t = x_t, so that all steps are one parallel read; ``"gru"`` or
            ``"lstm"`` take [x_t; c_{t−1}].
        temporal: Add te, an encoding of when a thing was written (and of now, to the query).
        relation: Relate what the hops have read (Pavez et al. 2018, arXiv:1805.09354) instead of taking the
            last.
        remember: Whether ``forward`` writes each x_t before reading at t.

    Raises:
        ValueError: If an argument is out of range or does not go with the storage.

    Example:
        >>> from recollect import MemoryNetwork, VectorStorage
        >>> memory = MemoryNetwork(8, VectorStorage(8, 8, slots=16), hops=2)
        >>> facts, question = torch.randn(1, 5, 8), torch.randn(1, 1, 8)
        >>> state = memory.write(memory.initial_state(1), facts)
        >>> memory.read(state, question).shape
        torch.Size([1, 1, 8])
    """

    def __init__(
        self,
        model_size: int,
        storage: Storage,
        hops: int = 3,
        heads: int = 1,
        tie: Tie = "layer",
        hop: Literal["add", "gated", "mlp"] = "add",
        controller: Controller = "none",
        temporal: bool = False,
        relation: bool = False,
        remember: bool = False,
    ) -> None:
        super().__init__(model_size, storage, remember)
        if hops < 1 or heads < 1:
            raise ValueError(f"hops and heads must be at least 1, got {hops} and {heads}")
        if storage.integer_keys:
            raise ValueError("a memory network's keys are real vectors; this storage takes integer keys")
        for name, value, known in (
            ("tie", tie, ("layer", "adjacent", "none")),
            ("hop", hop, tuple(HOPS)),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        self.heads = heads
        self.controller = controller_cell(controller, model_size)
        self.time = TemporalEncoding(model_size) if temporal else None
        self.norm_entry = nn.LayerNorm(model_size)
        self.norm_query = nn.LayerNorm(model_size)
        self.embed_keys, self.embed_values = embeddings(model_size, heads, storage, hops, tie)
        self.ask = nn.ModuleList(nn.Linear(model_size, heads * storage.key_size) for _ in range(hops))
        self.tell = nn.ModuleList(nn.Linear(heads * storage.value_size, model_size) for _ in range(hops))
        self.hops = nn.ModuleList(HOPS[hop](model_size) for _ in range(hops))
        self.relation = RelationNetwork(model_size) if relation else None
        self.conclude = nn.Linear(2 * model_size, model_size)
        address_by_content(self.embed_keys, self.embed_values, self.ask, self.tell)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> MemoryNetworkState:
        """An empty knowledge base and a controller at rest."""
        like = self.conclude.weight
        device, dtype = device or like.device, dtype or like.dtype
        stores = tuple(
            self.storage.initial_state(*batch, self.heads, device=device, dtype=dtype)
            for _ in self.embed_keys
        )
        rest = torch.zeros(*batch, self.model_size, device=device, dtype=dtype)
        written = torch.zeros(batch, dtype=torch.int64, device=device)
        return MemoryNetworkState(stores, written, rest, rest.clone(), rest.clone())

    # --- the verbs ------------------------------------------------------------------------------------------

    def write(self, state: MemoryNetworkState, x: Tensor, mask: Tensor | None = None) -> MemoryNetworkState:
        """Add W things to the knowledge base: ``x`` ``(…, W, D)``, ``mask`` ``(…, W)``."""
        mask = full_mask(x, mask)
        stores = tuple(
            self.storage.write(store, keys, values, None, self._per_head(mask))
            for store, (keys, values) in zip(state.stores, self._embed(state, x, mask), strict=True)
        )
        return state._replace(stores=stores, written=state.written + mask.sum(-1))

    def read(self, state: MemoryNetworkState, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Ask Q questions: ``x`` ``(…, Q, D)`` → ``(…, Q, D)``, with h = x."""
        mask = full_mask(x, mask)
        x = blank(x, mask)
        context = self._attend(x, state.written.unsqueeze(-1), self._reader(state.stores, mask))
        return blank(self.conclude(torch.cat([context, x], -1)), mask)

    def erase(self, state: MemoryNetworkState, x: Tensor, mask: Tensor | None = None) -> MemoryNetworkState:
        """Forget what was written as ``x`` ``(…, E, D)``, whenever it was written.

        With ``temporal``, the key of a thing depends on when it was written: every time up to now is tried,
        and the keys that name an entry are erased, which needs a storage with entries.
        """
        mask = full_mask(x, mask)
        if self.time is None:
            keys = [self._heads_first(embed(self.norm_entry(blank(x, mask)))) for embed in self.embed_keys]
            named = [self._per_head(mask)] * len(keys)
        else:
            keys, named = self._named_entries(state, x, mask)
        stores = tuple(
            self.storage.erase(store, key, None, known)
            for store, key, known in zip(state.stores, keys, named, strict=True)
        )
        return state._replace(stores=stores)

    def _named_entries(
        self, state: MemoryNetworkState, x: Tensor, mask: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Keys that ``x`` would have had at any time, ``(…, H, E·now, K)``; which of them are entries."""
        assert self.time is not None
        latest = int(state.written.amax()) if state.written.numel() else 0
        times = torch.arange(latest, device=x.device)
        at_times = blank(x, mask).unsqueeze(-2) + self.time(times)  # (…, E, now, D)
        entries = self.norm_entry(at_times).flatten(-3, -2)
        mask = mask.unsqueeze(-1).expand(*mask.shape, len(times)).flatten(-2)
        keys, named = [], []
        for store, embed in zip(state.stores, self.embed_keys, strict=True):
            key = self._heads_first(embed(entries))
            there = self.storage.entries(store)
            same = match(key, there.keys) * (there.filled > 0).unsqueeze(-2)
            keys.append(key)
            named.append(self._per_head(mask) & (same >= 1).any(-1))
        return keys, named

    def forward(
        self, x: Tensor, state: MemoryNetworkState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, MemoryNetworkState]:
        """T steps in order; one parallel read (or scan) where the controller allows it."""
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        mask = full_mask(x, mask)
        # A scan hands out no weights, so whoever wants to see them gets the steps one by one.
        if self.controller is not None or (self.remember and self._traces):
            return self._steps(x, state, mask)
        if not self.remember:
            return self.read(state, x, mask), state
        x = blank(x, mask)
        now = state.written.unsqueeze(-1) + mask.cumsum(-1)
        context = self._attend(x, now, self._scanner(state, x, mask))
        return blank(self.conclude(torch.cat([context, x], -1)), mask), self.write(state, x, mask)

    def _steps(self, x: Tensor, state: MemoryNetworkState, mask: Tensor) -> tuple[Tensor, MemoryNetworkState]:
        outputs = []
        for t in range(x.shape[-2]):
            x_t, mask_t = blank(x[..., t : t + 1, :], mask[..., t : t + 1]), mask[..., t : t + 1]
            if self.remember:
                state = self.write(state, x_t, mask_t)
            hidden, cell = x_t[..., 0, :], state.cell
            if self.controller is not None:
                hidden, cell = control(self.controller, hidden, state.context, state.hidden, cell)
            asked = hidden.unsqueeze(-2)
            context = self._attend(asked, state.written.unsqueeze(-1), self._reader(state.stores, mask_t))
            outputs.append(blank(self.conclude(torch.cat([context, asked], -1)), mask_t))
            state = state._replace(
                hidden=torch.where(mask_t, hidden, state.hidden),
                cell=torch.where(mask_t, cell, state.cell),
                context=torch.where(mask_t, context[..., 0, :], state.context),
            )
        return (torch.cat(outputs, -2) if outputs else x), state

    # --- the terms of the formula ---------------------------------------------------------------------------

    def _attend(self, asked: Tensor, now: Tensor, look_up: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Attention in hops: ``asked`` ``(…, Q, D)``, ``now`` ``(…, Q)`` or ``(…, 1)``."""
        query: Tensor = self.norm_query(asked if self.time is None else asked + self.time(now))
        seen: list[Tensor] = [query]
        for k, (ask, tell, hop) in enumerate(zip(self.ask, self.tell, self.hops, strict=True)):
            found = look_up(k, self._heads_first(ask(seen[-1])))
            seen.append(hop(seen[-1], tell(found.transpose(-3, -2).flatten(-2))))
        if self.relation is None:
            return seen[-1]
        related: Tensor = self.relation(torch.stack(seen, -2), query)
        return related

    def _reader(self, stores: tuple[State, ...], mask: Tensor) -> Callable[[int, Tensor], Tensor]:
        per_head = self._per_head(mask)
        return lambda k, query: self._observe(self.storage.read(of_hop(stores, k), query, per_head)).value

    def _scanner(self, state: MemoryNetworkState, x: Tensor, mask: Tensor) -> Callable[[int, Tensor], Tensor]:
        embedded = self._embed(state, x, mask)
        per_head = self._per_head(mask)

        def look_up(k: int, query: Tensor) -> Tensor:
            keys, values = of_hop(embedded, k)
            return self.storage.scan(of_hop(state.stores, k), query, keys, values, mask=per_head)[0]

        return look_up

    def _embed(self, state: MemoryNetworkState, x: Tensor, mask: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Keys ``(…, H, W, K)`` and values ``(…, H, W, V)`` of what is written, for each store."""
        x = blank(x, mask)
        if self.time is not None:
            x = x + self.time(state.written.unsqueeze(-1) + mask.cumsum(-1) - 1)
        entries = self.norm_entry(x)
        return tuple(
            (self._heads_first(keys(entries)), self._heads_first(values(entries)))
            for keys, values in zip(self.embed_keys, self.embed_values, strict=True)
        )

    def _heads_first(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads).transpose(-3, -2)

    def _per_head(self, mask: Tensor) -> Tensor:
        return mask.unsqueeze(-2).expand(*mask.shape[:-1], self.heads, mask.shape[-1])

    def inspect(self, state: MemoryNetworkState) -> dict[str, Tensor]:
        """The storage's figures, for the first hop's store."""
        return self.storage.inspect(state.stores[0])
