"""Memory networks: a knowledge base that is queried in several hops."""

from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.memories.memory_network_layers import (
    HOPS,
    Controller,
    RelationNetwork,
    Tie,
    check_arguments,
    controller_cell,
    entry_projections,
    init_content_addressing,
    of_hop,
    run_controller,
)
from recollect.memories.temporal_encoding import TemporalEncoding
from recollect.ops.attention import match
from recollect.ops.heads import expand_to_heads, merge_heads, split_heads
from recollect.ops.masking import apply_mask, full_mask
from recollect.state import State, register_state
from recollect.storages.base import Storage
from recollect.storages.slot import SlotStorage

KeysAndValues = tuple[Tensor, Tensor]
"""Keys ``(…, H, W, K)`` and values ``(…, H, W, V)`` for one store."""


@register_state
class MemoryNetworkState(NamedTuple):
    """State of a ``MemoryNetwork``.

    Attributes:
        stores: States of the storage with batch axes ``(…, H)``: one per hop, or one that all hops share.
        written: ``(…,)`` int64, number of items written so far.
        hidden: ``(…, D)``, hidden state h_{t−1} of the controller.
        cell: ``(…, D)``, cell state of an LSTM controller.
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
    storage. With u_0 = norm(h_t + te(now)) and m_i = norm(x_i + te(i)), each hop k computes in each of H
    heads

        o_k = T_k Σ_i softmax_i(Q_k u_k · A_k m_i) C_k m_i,    u_{k+1} = hop(u_k, o_k).

    c_t is u after the last hop, or, with ``relation``, Σ_{i<j} g([u_i; u_j; u_0]) over all of them; and
    y_t = W [c_t; h_t]. The storage defines the softmax.

    At initialisation the memory is addressed by content: A and C are orthogonal, Q = A and T = Cᵀ, so that a
    query finds what resembles it and reads it as it was written.

    Args:
        model_size: Width D.
        storage: The storage of M; heads are batch items of it.
        hops: Number of hops.
        heads: Number H of heads, each with keys and values of the storage's widths.
        tie: Sharing of A and C between hops: ``"layer"`` shares them, and one store, among all hops;
            ``"adjacent"`` sets C_k = A_{k+1} (needs equal key and value widths); ``"none"`` shares nothing.
        hop: ``"add"`` (MemN2N), ``"gated"`` (Gated MemN2N) or ``"mlp"`` (Working Memory Networks).
        controller: f: ``"none"`` is h_t = x_t, so that all steps are read in parallel; ``"gru"`` and
            ``"lstm"`` take [x_t; c_{t−1}].
        temporal: Add te, an encoding of the time of writing, and of the current time to the query.
        relation: Relate what the hops have read (Pavez et al. 2018, arXiv:1805.09354) instead of taking the
            last.
        write_on_forward: Let ``forward`` write each x_t before it reads at t.

    Raises:
        ValueError: If an argument is out of range or does not fit the storage.

    Example:
        >>> from recollect import MemoryNetwork, VectorStorage
        >>> memory = MemoryNetwork(8, VectorStorage(8, 8, slots=16), hops=2)
        >>> facts, question = torch.randn(1, 5, 8), torch.randn(1, 1, 8)
        >>> state = memory.write(memory.initial_state(1), facts)
        >>> memory.read(state, question).shape
        torch.Size([1, 1, 8])
    """

    forward_only = ("controller",)

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
        write_on_forward: bool = False,
    ) -> None:
        super().__init__(model_size, storage, write_on_forward)
        check_arguments(storage, hops, heads, tie, hop, temporal)
        self.heads = heads
        self.controller = controller_cell(controller, model_size)
        self.temporal_encoding = TemporalEncoding(model_size) if temporal else None
        self.norm_entry = nn.LayerNorm(model_size)
        self.norm_query = nn.LayerNorm(model_size)
        self.key_proj, self.value_proj = entry_projections(model_size, heads, storage, hops, tie)
        self.query_proj = nn.ModuleList(nn.Linear(model_size, heads * storage.key_size) for _ in range(hops))
        self.read_proj = nn.ModuleList(nn.Linear(heads * storage.value_size, model_size) for _ in range(hops))
        self.hops = nn.ModuleList(HOPS[hop](model_size) for _ in range(hops))
        self.relation = RelationNetwork(model_size) if relation else None
        self.out_proj = nn.Linear(2 * model_size, model_size)
        init_content_addressing(self.key_proj, self.value_proj, self.query_proj, self.read_proj)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> MemoryNetworkState:
        """Return an empty knowledge base and a zero controller state."""
        like = self.out_proj.weight
        device, dtype = device or like.device, dtype or like.dtype
        stores = tuple(
            self.storage.initial_state(*batch, self.heads, device=device, dtype=dtype) for _ in self.key_proj
        )
        zeros = torch.zeros(*batch, self.model_size, device=device, dtype=dtype)
        written = torch.zeros(batch, dtype=torch.int64, device=device)
        return MemoryNetworkState(stores, written, zeros, zeros.clone(), zeros.clone())

    def forward(
        self, x: Tensor, state: MemoryNetworkState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, MemoryNetworkState]:
        """Run T steps in order, in parallel if there is no controller; see ``Memory.forward``."""
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        # Traced steps run one by one, so that the reads of a step come together.
        if self.controller is not None or (self.write_on_forward and self.storage.traced):
            return self._forward_stepwise(x, state, full_mask(x, mask))
        if not self.write_on_forward:
            return self.read(state, x, mask), state
        x = _masked(x, mask)
        now = state.written.unsqueeze(-1) + full_mask(x, mask).cumsum(-1)  # (…, T): written up to each step
        context = self._attend(x, now, state.stores, mask, self._project_entries(state, x, mask))
        return self._output(context, x, mask), self.write(state, x, mask)

    def _forward_stepwise(
        self, x: Tensor, state: MemoryNetworkState, mask: Tensor
    ) -> tuple[Tensor, MemoryNetworkState]:
        outputs = []
        for t in range(x.shape[-2]):
            mask_t = mask[..., t : t + 1]
            x_t = apply_mask(x[..., t : t + 1, :], mask_t)  # (…, 1, D)
            if self.write_on_forward:
                state = self.write(state, x_t, mask_t)
            hidden, cell = x_t[..., 0, :], state.cell
            if self.controller is not None:
                hidden, cell = run_controller(self.controller, hidden, state.context, state.hidden, cell)
            h_t = hidden.unsqueeze(-2)
            context = self._attend(h_t, state.written.unsqueeze(-1), state.stores, mask_t)
            outputs.append(self._output(context, h_t, mask_t))
            state = state._replace(
                hidden=torch.where(mask_t, hidden, state.hidden),
                cell=torch.where(mask_t, cell, state.cell),
                context=torch.where(mask_t, context[..., 0, :], state.context),
            )
        return (torch.cat(outputs, -2) if outputs else x), state

    # --- write, read, erase ---------------------------------------------------------------------------------

    def write(self, state: MemoryNetworkState, x: Tensor, mask: Tensor | None = None) -> MemoryNetworkState:
        """Store W items ``x`` ``(…, W, D)``, where ``mask`` ``(…, W)`` is true."""
        head_mask = self._head_mask(x, mask)
        stores = tuple(
            self.storage.write(store, keys, values, None, head_mask)
            for store, (keys, values) in zip(state.stores, self._project_entries(state, x, mask), strict=True)
        )
        count = x.shape[-2] if mask is None else mask.sum(-1)
        return state._replace(stores=stores, written=state.written + count)

    def read(self, state: MemoryNetworkState, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read with Q queries ``x`` ``(…, Q, D)``: ``(…, Q, D)``, with h = x."""
        x = _masked(x, mask)
        context = self._attend(x, state.written.unsqueeze(-1), state.stores, mask)
        return self._output(context, x, mask)

    def erase(self, state: MemoryNetworkState, x: Tensor, mask: Tensor | None = None) -> MemoryNetworkState:
        """Erase items that were written as ``x`` ``(…, E, D)``, whenever that was.

        With ``temporal``, the key of an item depends on the time of writing. Every time up to now is tried,
        and the keys that belong to an entry are erased; this needs a storage with entries.
        """
        mask = full_mask(x, mask)
        if self.temporal_encoding is None:
            entries = self.norm_entry(apply_mask(x, mask))
            keys = [split_heads(proj(entries), self.heads) for proj in self.key_proj]
            masks = [expand_to_heads(mask, self.heads)] * len(keys)
        else:
            keys, masks = self._keys_at_all_times(state, x, mask)
        stores = tuple(
            self.storage.erase(store, key, None, key_mask)
            for store, key, key_mask in zip(state.stores, keys, masks, strict=True)
        )
        return state._replace(stores=stores)

    def _keys_at_all_times(
        self, state: MemoryNetworkState, x: Tensor, mask: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Keys ``(…, H, E · now, K)`` of ``x`` at every time so far, and which of them belong to entries."""
        assert self.temporal_encoding is not None
        latest = int(state.written.amax()) if state.written.numel() else 0
        times = torch.arange(latest, device=x.device)
        at_times = apply_mask(x, mask).unsqueeze(-2) + self.temporal_encoding(times)  # (…, E, now, D)
        items = self.norm_entry(at_times).flatten(-3, -2)
        mask = mask.unsqueeze(-1).expand(*mask.shape, len(times)).flatten(-2)
        keys, masks = [], []
        for store, proj in zip(state.stores, self.key_proj, strict=True):
            key = split_heads(proj(items), self.heads)
            assert isinstance(self.storage, SlotStorage)
            entries = self.storage.entries(store)
            same = match(key, entries.keys) * (entries.filled > 0).unsqueeze(-2)
            keys.append(key)
            masks.append(expand_to_heads(mask, self.heads) & (same >= 1).any(-1))
        return keys, masks

    # --- the terms of the formula ---------------------------------------------------------------------------

    def _attend(
        self,
        hidden: Tensor,
        now: Tensor,
        stores: tuple[State, ...],
        mask: Tensor | None,
        entries: tuple[KeysAndValues, ...] | None = None,
    ) -> Tensor:
        """Attention in hops: c ``(…, Q, D)``, given h ``(…, Q, D)``.

        Args:
            hidden: h.
            now: ``(…, Q)`` or ``(…, 1)``, the current time.
            stores: The stores to read.
            mask: ``(…, Q)`` bool, or ``None`` for all.
            entries: Entries that are written at each step before it is read; by default none are.
        """
        head_mask = self._head_mask(hidden, mask)
        readers = [self.storage.reader(store) for store in stores] if entries is None else []
        if self.temporal_encoding is not None:
            hidden = hidden + self.temporal_encoding(now)
        queries: list[Tensor] = [self.norm_query(hidden)]
        for k, hop in enumerate(self.hops):
            query = split_heads(self.query_proj[k](queries[-1]), self.heads)  # (…, H, Q, K)
            if entries is None:
                found = of_hop(readers, k)(query, head_mask).value  # (…, H, Q, V)
            else:
                found = self.storage.scan(of_hop(stores, k), query, *of_hop(entries, k), mask=head_mask)[0]
            queries.append(hop(queries[-1], self.read_proj[k](merge_heads(found))))
        if self.relation is None:
            return queries[-1]
        related: Tensor = self.relation(torch.stack(queries, -2), queries[0])
        return related

    def _project_entries(
        self, state: MemoryNetworkState, x: Tensor, mask: Tensor | None
    ) -> tuple[KeysAndValues, ...]:
        """Keys and values of the items ``x`` ``(…, W, D)``, for each store."""
        x = _masked(x, mask)
        if self.temporal_encoding is not None:
            now = state.written.unsqueeze(-1) + full_mask(x, mask).cumsum(-1) - 1
            x = x + self.temporal_encoding(now)
        items = self.norm_entry(x)
        return tuple(
            (split_heads(key_proj(items), self.heads), split_heads(value_proj(items), self.heads))
            for key_proj, value_proj in zip(self.key_proj, self.value_proj, strict=True)
        )

    def _output(self, context: Tensor, hidden: Tensor, mask: Tensor | None) -> Tensor:
        return _masked(self.out_proj(torch.cat([context, hidden], -1)), mask)

    def _head_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """Repeat the mask of ``x`` for every head."""
        return None if mask is None else expand_to_heads(full_mask(x, mask), self.heads)

    def inspect(self, state: MemoryNetworkState) -> dict[str, Tensor]:
        """Return the storage's figures for the store of the first hop."""
        return self.storage.inspect(state.stores[0])


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero ``x`` ``(…, n, D)`` where it is masked."""
    return x if mask is None else apply_mask(x, full_mask(x, mask))
