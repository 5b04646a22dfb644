"""A memory of each user's interests: their items, read by the session's state."""

from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.ops.heads import expand_to_heads, merge_heads, split_heads
from recollect.ops.indexing import mask_repeats, scatter_rows, scatter_rows_
from recollect.state import State, map_state, register_state, where_items
from recollect.storages.base import Storage


@register_state
class InterestState(NamedTuple):
    """State of an ``InterestMemory``.

    Attributes:
        store: State of the storage, with batch axes ``(…, H)``.
        order: ``(…, H, N)`` int64, which write each entry comes from, counted from 0; −1 for none.
        written: ``(…,)`` int64, how many things have been written.
        coming: ``(…, T, D)``, the items of the session to come.
        known: ``(…, T)`` bool, which of its steps have an item.
    """

    store: State
    order: Tensor
    written: Tensor
    coming: Tensor
    known: Tensor


@final
class InterestMemory(Memory[InterestState]):
    """y_t = T Σ_i softmax_i(Q norm(h_t) · K norm(e_i)) V norm(e_i) over a user's items e_i up to step t.

    The item-level user memory of Chen et al. 2018 (RUM, "Sequential Recommendation with User Memory
    Networks", section 3.2) with attention in the place of a sum, in each of H heads. Items from before the
    session are written to the storage; those of the session, announced by ``expect``, are written as its
    steps come, so that each step reads what was clicked up to then. How a similarity becomes a weight is the
    storage's affair. What comes of a user is no parameter: a user who arrives later is read like any other.

    Joined by ``Concatenation`` the session's state h_t is what reads, joined by ``Parallel`` the item x_t of
    the step. ``Fusion`` reads before the session begins, and so what was written before it only.

    Args:
        model_size: Width D of items and of session states.
        storage: Where a user's items are kept.
        heads: Number H of heads, each with keys and values of the storage's widths.

    Raises:
        ValueError: If ``heads`` is not positive, or the storage takes integer keys.

    Example:
        >>> from recollect import VectorStorage
        >>> memory = InterestMemory(8, VectorStorage(4, 4, slots=16))
        >>> state = memory.write(memory.initial_state(2), torch.randn(2, 5, 8))
        >>> state = memory.expect(state, torch.randn(2, 3, 8))
        >>> y, state = memory(torch.randn(2, 3, 8), state)
        >>> y.shape, state.written.tolist()
        (torch.Size([2, 3, 8]), [8, 8])
    """

    def __init__(self, model_size: int, storage: Storage, heads: int = 1) -> None:
        super().__init__(model_size, storage)
        if heads < 1:
            raise ValueError(f"heads must be at least 1, got {heads}")
        if storage.integer_keys:
            raise ValueError("items are kept under real vectors; this storage takes integer keys")
        self.heads = heads
        self.norm_item = nn.LayerNorm(model_size)
        self.norm_state = nn.LayerNorm(model_size)
        self.key = nn.Linear(model_size, heads * storage.key_size)
        self.value = nn.Linear(model_size, heads * storage.value_size)
        self.ask = nn.Linear(model_size, heads * storage.key_size)
        self.tell = nn.Linear(heads * storage.value_size, model_size)
        # What is read of an item is at first the item itself: users like what resembles their items.
        for layer in (self.value, self.tell):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> InterestState:
        """Nobody's items."""
        device, dtype = device or self.key.weight.device, dtype or self.key.weight.dtype
        store = self.storage.initial_state(*batch, self.heads, device=device, dtype=dtype)
        places = self.storage.entries(store).filled.shape
        return InterestState(
            store,
            order=torch.full(places, -1, device=device),
            written=torch.zeros(batch, device=device, dtype=torch.int64),
            coming=torch.zeros(*batch, 0, self.model_size, device=device, dtype=dtype),
            known=torch.zeros(*batch, 0, device=device, dtype=torch.bool),
        )

    # --- operations -----------------------------------------------------------------------------------------

    def write(self, state: InterestState, x: Tensor, mask: Tensor | None = None) -> InterestState:
        """Remember W items: ``x`` ``(…, W, D)``."""
        mask = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask
        return self._write(state, x, mask, inplace=False)

    def expect(self, state: InterestState, x: Tensor, mask: Tensor | None = None) -> InterestState:
        """Announce the items of the session to come, ``x`` ``(…, T, D)``: ``forward`` writes each in turn."""
        mask = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask
        return state._replace(coming=x, known=mask)

    def read(self, state: InterestState, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What is remembered for Q session states ``x`` ``(…, Q, D)``: ``(…, Q, D)``, state unchanged."""
        heads = None if mask is None else expand_to_heads(mask, self.heads)
        read = self.storage.read(state.store, split_heads(self.ask(self.norm_state(x)), self.heads), heads)
        return self._tell(read.value, mask)

    def erase(self, state: InterestState, x: Tensor, mask: Tensor | None = None) -> InterestState:
        """Forget items ``x`` ``(…, E, D)``, by content: what resembles them fades too."""
        heads = None if mask is None else expand_to_heads(mask, self.heads)
        return state._replace(store=self.storage.erase(state.store, self._entries(x)[0], None, heads))

    def reset(self, state: InterestState, where: Tensor) -> InterestState:
        """Users where ``where`` is true become new ones, the session to come included."""
        fresh = self.initial_state(*where.shape, device=where.device)
        fresh = fresh._replace(coming=torch.zeros_like(state.coming), known=torch.zeros_like(state.known))
        return where_items(where, fresh, state)

    def forward(
        self, x: Tensor, state: InterestState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, InterestState]:
        """T steps: the session's items are written as they come, each before its step reads.

        Raises:
            ValueError: If another number of steps was expected.
        """
        state = self.initial_state(*x.shape[:-2], device=x.device) if state is None else state
        steps = state.coming.shape[-2]
        if steps == 0:
            return self.read(state, x, mask), state
        if steps != x.shape[-2]:
            raise ValueError(f"a session of {steps} steps was expected, not one of {x.shape[-2]}")
        coming, known = state.coming, state.known if mask is None else state.known & mask
        state = state._replace(coming=coming[..., :0, :], known=known[..., :0])
        if self.storage.traced:  # a scan hands out no weights
            return self._steps(x, state, coming, known, mask)
        keys, values = self._entries(coming)
        query = split_heads(self.ask(self.norm_state(x)), self.heads)
        # A step without an item is the beginning, before which there is nothing to be read, or padding.
        found, _ = self.storage.scan(
            state.store, query, keys, values, mask=expand_to_heads(known, self.heads)
        )
        state_after = self.write(state, coming, known)
        return self._tell(found, mask), state_after

    # --- helpers --------------------------------------------------------------------------------------------

    def _steps(
        self, x: Tensor, state: InterestState, coming: Tensor, known: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, InterestState]:
        outputs = []
        # Where there is no gradient one copy is enough for all steps.
        inplace = not torch.is_grad_enabled()
        state = map_state(Tensor.clone, state) if inplace else state
        for now in (slice(t, t + 1) for t in range(x.shape[-2])):
            state = self._write(state, coming[..., now, :], known[..., now], inplace)
            outputs.append(self.read(state, x[..., now, :], known[..., now]))
        y = torch.cat(outputs, -2)
        return (y if mask is None else y.masked_fill(~mask.unsqueeze(-1), 0)), state

    def _write(self, state: InterestState, x: Tensor, mask: Tensor, inplace: bool) -> InterestState:
        keys, values = self._entries(x)
        heads = expand_to_heads(mask, self.heads)
        store, slots = self.storage.place(state.store, keys, values, None, heads, inplace=inplace)
        number = state.written.unsqueeze(-1) + mask.cumsum(-1) - 1
        last, put = mask_repeats(slots, slots >= 0), scatter_rows_ if inplace else scatter_rows
        order = put(state.order, expand_to_heads(number, self.heads), slots.clamp_min(0), last)
        return state._replace(store=store, order=order, written=state.written + mask.sum(-1))

    def _entries(self, x: Tensor) -> tuple[Tensor, Tensor]:
        item = self.norm_item(x)
        return split_heads(self.key(item), self.heads), split_heads(self.value(item), self.heads)

    def _tell(self, found: Tensor, mask: Tensor | None) -> Tensor:
        y: Tensor = self.tell(merge_heads(found))
        return y if mask is None else y.masked_fill(~mask.unsqueeze(-1), 0)

    def inspect(self, state: InterestState) -> dict[str, Any]:
        """The storage's figures."""
        return self.storage.inspect(state.store)
