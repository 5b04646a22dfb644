"""A memory of learned prototypes."""

from typing import cast, final

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.ops.masking import apply_mask
from recollect.state import State, map_state
from recollect.storages.base import Storage


@final
class PrototypeMemory(Memory[State]):
    """y_t = T Σ_i softmax_i(Q norm(x_t) · k_i) v_i over entries (k_i, v_i) that are parameters.

    The memory of MemAE (Gong et al. 2019, arXiv:1904.02639, section 3.3) and MEMTO (Song et al. 2023,
    arXiv:2312.02530): every state starts with the same N learned entries, so that a read is composed of what
    training examples have in common. The storage defines the softmax and how many entries it covers.

    A state only starts with the prototypes: other items can be written to it and prototypes can be erased,
    without training. ``reset`` restores the learned ones.

    Args:
        model_size: Width D.
        storage: The storage of the entries.
        prototypes: Number N of learned entries.
        write_on_forward: Let ``forward`` write each x_t before it reads at t.

    Raises:
        ValueError: If ``prototypes`` is not positive, or the storage takes integer keys.

    Example:
        >>> from recollect import PrototypeMemory, VectorStorage
        >>> memory = PrototypeMemory(8, VectorStorage(4, 4, slots=16), prototypes=16)
        >>> y, state = memory(torch.randn(2, 3, 8))
        >>> y.shape, memory.inspect(state)["occupancy"].tolist()
        (torch.Size([2, 3, 8]), [1.0, 1.0])
    """

    def __init__(
        self, model_size: int, storage: Storage, prototypes: int, write_on_forward: bool = False
    ) -> None:
        super().__init__(model_size, storage, write_on_forward)
        if prototypes < 1:
            raise ValueError(f"prototypes must be at least 1, got {prototypes}")
        self.keys = nn.Parameter(torch.randn(prototypes, storage.key_size))
        self.values = nn.Parameter(torch.randn(prototypes, storage.value_size) / storage.value_size**0.5)
        self.norm = nn.LayerNorm(model_size)
        # Entries use the query projection for their keys, so that an input reads what it wrote.
        self.query_proj = nn.Linear(model_size, storage.key_size)
        self.value_proj = nn.Linear(model_size, storage.value_size)
        self.out_proj = nn.Linear(storage.value_size, model_size)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the learned entries, the same for every batch item."""
        device, dtype = device or self.keys.device, dtype or self.keys.dtype
        empty = self.storage.initial_state(device=device, dtype=dtype)
        full = self.storage.write(empty, self.keys.to(device, dtype), self.values.to(device, dtype))
        # Writes make new tensors, so that batch items can share the memory of the initial state.
        return cast(State, map_state(lambda tensor: tensor.expand(*batch, *tensor.shape), full))

    def write(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Store W items ``x`` ``(…, W, D)`` besides the prototypes."""
        keys, values = self._entry(x)
        return cast(State, self.storage.write(state, keys, values, None, mask))

    def read(self, state: State, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read with Q queries ``x`` ``(…, Q, D)``: ``(…, Q, D)``."""
        read = self.storage.read(state, self.query_proj(self.norm(x)), mask, need_weights=False)
        return self._output(read.value, mask)

    def erase(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Erase entries, including learned ones, whose keys match those of ``x`` ``(…, E, D)``."""
        return cast(State, self.storage.erase(state, self._entry(x)[0], None, mask))

    def forward(
        self, x: Tensor, state: State | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps: one parallel read, or with ``write_on_forward`` a scan."""
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        if not self.write_on_forward:
            return self.read(state, x, mask), state
        keys, values = self._entry(x)
        found, state = self.storage.scan(state, self.query_proj(self.norm(x)), keys, values, mask=mask)
        return self._output(found, mask), state

    def inspect(self, state: State) -> dict[str, Tensor]:
        """Return the storage's figures."""
        return self.storage.inspect(state)

    def _entry(self, x: Tensor) -> tuple[Tensor, Tensor]:
        entry = self.norm(x)
        return self.query_proj(entry), self.value_proj(entry)

    def _output(self, found: Tensor, mask: Tensor | None) -> Tensor:
        y: Tensor = self.out_proj(found)
        return y if mask is None else apply_mask(y, mask)
