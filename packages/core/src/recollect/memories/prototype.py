"""A memory of learned prototypes: what is common to all that was seen in training."""

from typing import cast, final

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.state import State, map_state
from recollect.storages.base import Storage


@final
class PrototypeMemory(Memory[State]):
    """y_t = T Σ_i softmax_i(Q norm(x_t) · k_i) v_i over entries (k_i, v_i) that are parameters.

    The memory of MemAE (Gong et al. 2019, arXiv:1904.02639, section 3.3) and MEMTO (Song et al. 2023,
    arXiv:2312.02530): every state begins with the same N learned entries, so that what is read is made of
    what training data have in common. How a similarity becomes a weight is the storage's affair, and so is
    how many of the entries a read looks at.

    The entries are a state's beginning, no more: things can be written to it besides, and prototypes erased
    from it, without training; ``reset`` brings the learned ones back.

    Args:
        model_size: Width D.
        storage: Where the entries are kept.
        prototypes: Number N of learned entries.
        remember: Whether ``forward`` writes each x_t before reading at t.

    Raises:
        ValueError: If ``prototypes`` is not positive, or the storage takes integer keys.

    Example:
        >>> from recollect import PrototypeMemory, VectorStorage
        >>> memory = PrototypeMemory(8, VectorStorage(4, 4, slots=16), prototypes=16)
        >>> y, state = memory(torch.randn(2, 3, 8))
        >>> y.shape, memory.inspect(state)["occupancy"].tolist()
        (torch.Size([2, 3, 8]), [1.0, 1.0])
    """

    def __init__(self, model_size: int, storage: Storage, prototypes: int, remember: bool = False) -> None:
        super().__init__(model_size, storage, remember)
        if prototypes < 1:
            raise ValueError(f"prototypes must be at least 1, got {prototypes}")
        if storage.integer_keys:
            raise ValueError("prototypes have real vectors for keys; this storage takes integer keys")
        self.keys = nn.Parameter(torch.randn(prototypes, storage.key_size))
        self.values = nn.Parameter(torch.randn(prototypes, storage.value_size) / storage.value_size**0.5)
        self.norm = nn.LayerNorm(model_size)
        self.ask = nn.Linear(model_size, storage.key_size)
        self.embed = nn.Linear(model_size, storage.value_size)
        self.tell = nn.Linear(storage.value_size, model_size)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The learned entries, the same for every batch item."""
        device, dtype = device or self.keys.device, dtype or self.keys.dtype
        empty = self.storage.initial_state(device=device, dtype=dtype)
        full = self.storage.write(empty, self.keys.to(device, dtype), self.values.to(device, dtype))
        # Writes of a state make new tensors, so that batch items can share the one beginning.
        return cast(State, map_state(lambda tensor: tensor.expand(*batch, *tensor.shape), full))

    def write(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Remember W things besides the prototypes: ``x`` ``(…, W, D)``."""
        keys, values = self._entry(x)
        return cast(State, self.storage.write(state, keys, values, None, mask))

    def read(self, state: State, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the prototypes make of Q queries: ``x`` ``(…, Q, D)`` → ``(…, Q, D)``."""
        read = self._observe(self.storage.read(state, self.ask(self.norm(x)), mask))
        return self._tell(read.value, mask)

    def erase(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Forget entries, learned ones too, whose keys match those of ``x`` ``(…, E, D)``."""
        return cast(State, self.storage.erase(state, self._entry(x)[0], None, mask))

    def forward(
        self, x: Tensor, state: State | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """T steps: one parallel read, or a scan where ``remember`` is set."""
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        if not self.remember:
            return self.read(state, x, mask), state
        if self._traces:  # a scan hands out no weights
            return self._write_then_read(x, state, mask)
        keys, values = self._entry(x)
        found, state = self.storage.scan(state, self.ask(self.norm(x)), keys, values, mask=mask)
        return self._tell(found, mask), state

    def inspect(self, state: State) -> dict[str, Tensor]:
        """The storage's figures."""
        return self.storage.inspect(state)

    def _entry(self, x: Tensor) -> tuple[Tensor, Tensor]:
        entry = self.norm(x)
        return self.ask(entry), self.embed(entry)

    def _tell(self, found: Tensor, mask: Tensor | None) -> Tensor:
        y: Tensor = self.tell(found)
        return y if mask is None else y.masked_fill(~mask.unsqueeze(-1), 0)
