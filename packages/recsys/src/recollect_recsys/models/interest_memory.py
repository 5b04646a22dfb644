"""A memory of each user's interests: their items, read by the session's state."""

from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.ops.heads import expand_to_heads, merge_heads, split_heads
from recollect.ops.indexing import mask_repeats, scatter_rows, scatter_rows_
from recollect.ops.masking import full_mask
from recollect.state import State, map_state, register_state
from recollect.storages.slot import SlotStorage


@register_state
class InterestState(NamedTuple):
    """State of an ``InterestMemory``.

    Attributes:
        store: State of the storage, with batch axes ``(…, H)``.
        order: ``(…, H, N)`` int64, which write each entry comes from, counted from 0; −1 for none.
        written: ``(…,)`` int64, number of items written so far.
    """

    store: State
    order: Tensor
    written: Tensor


@final
class InterestMemory(Memory[InterestState, SlotStorage]):
    """y_t = T Σ_i softmax_i(Q norm(h_t) · K norm(e_i)) V norm(e_i) over a user's items e_i up to step t.

    The item-level user memory of Chen et al. 2018 (RUM, "Sequential Recommendation with User Memory
    Networks", section 3.2) with attention instead of a sum, in each of H heads. ``write`` stores the items
    from before the session; ``forward`` writes the item of each step before that step reads. The storage
    turns similarities into weights. Nothing about a user is a parameter, so users who arrive after training
    are read like all others.

    With ``Concatenation`` the state h_t of the session reads, with ``Parallel`` the item x_t of the step.
    ``Fusion`` calls ``read`` before the session, and so finds earlier items only.

    Args:
        model_size: Width D of items and of session states.
        storage: Stores the items of each user.
        heads: Number H of heads, each with keys and values of the storage's widths.

    Raises:
        ValueError: If ``heads`` is not positive, or the storage takes integer keys.

    Example:
        >>> from recollect import VectorStorage
        >>> memory = InterestMemory(8, VectorStorage(4, 4, slots=16))
        >>> state = memory.write(memory.initial_state(2), torch.randn(2, 5, 8))
        >>> y, state = memory(torch.randn(2, 3, 8), state, items=torch.randn(2, 3, 8))
        >>> y.shape, state.written.tolist()
        (torch.Size([2, 3, 8]), [8, 8])
    """

    storage_type = SlotStorage
    takes_items = True

    def __init__(self, model_size: int, storage: SlotStorage, heads: int = 1) -> None:
        super().__init__(model_size, storage)
        if heads < 1:
            raise ValueError(f"heads must be at least 1, got {heads}")
        self.heads = heads
        self.norm_item = nn.LayerNorm(model_size)
        self.norm_state = nn.LayerNorm(model_size)
        self.key_proj = nn.Linear(model_size, heads * storage.key_size)
        self.value_proj = nn.Linear(model_size, heads * storage.value_size)
        self.query_proj = nn.Linear(model_size, heads * storage.key_size)
        self.out_proj = nn.Linear(heads * storage.value_size, model_size)
        # A read returns the item itself at initialisation: users like what resembles their items.
        for layer in (self.value_proj, self.out_proj):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> InterestState:
        """Return a state without items."""
        device, dtype = device or self.key_proj.weight.device, dtype or self.key_proj.weight.dtype
        store = self.storage.initial_state(*batch, self.heads, device=device, dtype=dtype)
        places = self.storage.entries(store).filled.shape
        return InterestState(
            store,
            order=torch.full(places, -1, device=device),
            written=torch.zeros(batch, device=device, dtype=torch.int64),
        )

    # --- operations -----------------------------------------------------------------------------------------

    def write(self, state: InterestState, x: Tensor, mask: Tensor | None = None) -> InterestState:
        """Write W items ``x`` ``(…, W, D)``."""
        return self._write(state, x, full_mask(x, mask), inplace=False)

    def read(self, state: InterestState, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read with Q session states ``x`` ``(…, Q, D)``: ``(…, Q, D)``."""
        heads = None if mask is None else expand_to_heads(mask, self.heads)
        read = self.storage.read(
            state.store, split_heads(self.query_proj(self.norm_state(x)), self.heads), heads
        )
        return self._output(read.value, mask)

    def erase(self, state: InterestState, x: Tensor, mask: Tensor | None = None) -> InterestState:
        """Erase items ``x`` ``(…, E, D)`` by content: similar ones fade too."""
        heads = None if mask is None else expand_to_heads(mask, self.heads)
        return state._replace(store=self.storage.erase(state.store, self._entries(x)[0], None, heads))

    def forward(
        self,
        x: Tensor,
        state: InterestState | None = None,
        mask: Tensor | None = None,
        items: Tensor | None = None,
        items_mask: Tensor | None = None,
    ) -> tuple[Tensor, InterestState]:
        """Run T steps, each of which writes its item before it reads; see ``Memory.forward``.

        Args:
            x: ``(…, T, D)`` session states.
            state: The state to start from; an initial state by default.
            mask: ``(…, T)`` bool; a step where it is false changes nothing and outputs zero.
            items: ``(…, T, D)`` the item of each step; nothing is written by default.
            items_mask: ``(…, T)`` bool; a step where it is false has no item and reads zero.

        Raises:
            ValueError: If the numbers of items and steps differ.
        """
        state = self.initial_state(*x.shape[:-2], device=x.device) if state is None else state
        if items is None:
            return self.read(state, x, mask), state
        if items.shape[-2] != x.shape[-2]:
            raise ValueError(f"got {items.shape[-2]} items for {x.shape[-2]} steps")
        there = full_mask(items, items_mask) if mask is None else full_mask(items, items_mask) & mask
        if self.storage.traced:  # a scan reports no weights
            return self._steps(x, state, items, there, mask)
        keys, values = self._entries(items)
        query = split_heads(self.query_proj(self.norm_state(x)), self.heads)
        # A step without an item is the beginning, before which there is nothing to read, or padding.
        found, _ = self.storage.scan(
            state.store, query, keys, values, mask=expand_to_heads(there, self.heads)
        )
        return self._output(found, mask), self.write(state, items, there)

    # --- helpers --------------------------------------------------------------------------------------------

    def _steps(
        self, x: Tensor, state: InterestState, items: Tensor, there: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, InterestState]:
        outputs = []
        # Without gradients one copy serves all steps.
        inplace = not torch.is_grad_enabled()
        state = map_state(Tensor.clone, state) if inplace else state
        for now in (slice(t, t + 1) for t in range(x.shape[-2])):
            state = self._write(state, items[..., now, :], there[..., now], inplace)
            outputs.append(self.read(state, x[..., now, :], there[..., now]))
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
        return split_heads(self.key_proj(item), self.heads), split_heads(self.value_proj(item), self.heads)

    def _output(self, found: Tensor, mask: Tensor | None) -> Tensor:
        y: Tensor = self.out_proj(merge_heads(found))
        return y if mask is None else y.masked_fill(~mask.unsqueeze(-1), 0)

    def inspect(self, state: InterestState) -> dict[str, Any]:
        """Return the figures of the storage."""
        return self.storage.inspect(state.store)
