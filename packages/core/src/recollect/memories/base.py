"""The contract of every memory: what stands between a network's features and a storage."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic

import torch
from torch import Tensor, nn

from recollect.state import S, select_items, where_items
from recollect.storages.base import Storage
from recollect.storages.results import Read


class Memory(nn.Module, ABC, Generic[S]):
    """Features become keys, values and queries of a storage; in and out the model's width D is spoken.

    Like a storage, a memory keeps no state of its own: ``y, state = memory(x, state)``. The widths of keys
    and values are those of the storage it is handed.

    Args:
        model_size: Width D of what goes in and comes out.
        storage: Where it is kept.
        remember: Whether ``forward`` also writes each step to the storage, before reading at that step.
            Without it, ``forward`` only reads what ``write`` has put there.

    Raises:
        ValueError: If ``model_size`` is not positive.
    """

    def __init__(self, model_size: int, storage: Storage, remember: bool = False) -> None:
        super().__init__()
        if model_size < 1:
            raise ValueError(f"model_size must be at least 1, got {model_size}")
        self.model_size = model_size
        self.storage = storage
        self.remember = remember
        self._traces: list[list[Read]] = []

    @abstractmethod
    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> S:
        """A memory of nothing, for batch axes ``batch``."""

    @abstractmethod
    def forward(self, x: Tensor, state: S | None = None, mask: Tensor | None = None) -> tuple[Tensor, S]:
        """T steps in order.

        Args:
            x: ``(…, T, D)``.
            state: Where to begin; an initial state by default.
            mask: ``(…, T)`` bool; a step where it is false changes nothing and gives zero.

        Returns:
            ``y`` ``(…, T, D)`` and the state after the last step.
        """

    @abstractmethod
    def write(self, state: S, x: Tensor, mask: Tensor | None = None) -> S:
        """Remember W things: ``x`` ``(…, W, D)``, ``mask`` ``(…, W)``."""

    @abstractmethod
    def read(self, state: S, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Recall for Q queries ``x`` ``(…, Q, D)``, state unchanged: ``(…, Q, D)``, zero where masked."""

    @abstractmethod
    def erase(self, state: S, x: Tensor, mask: Tensor | None = None) -> S:
        """Forget E things that were written as ``x`` ``(…, E, D)``, ``mask`` ``(…, E)``."""

    def _write_then_read(self, x: Tensor, state: S, mask: Tensor | None) -> tuple[Tensor, S]:
        """What ``remember`` asks for, one step after the other: write x_t, then read with it."""
        outputs = [x[..., :0, :]]
        for now in (slice(t, t + 1) for t in range(x.shape[-2])):
            mask_t = None if mask is None else mask[..., now]
            state = self.write(state, x[..., now, :], mask_t)
            outputs.append(self.read(state, x[..., now, :], mask_t))
        return torch.cat(outputs[1:] or outputs, -2), state

    def reset(self, state: S, where: Tensor) -> S:
        """Batch items where ``where`` (shape of the batch axes, bool) is true start afresh."""
        return where_items(where, self.initial_state(*where.shape, device=where.device), state)

    def select(self, state: S, index: Tensor) -> S:
        """Pick items ``index`` ``(B',)`` along the first batch axis."""
        return select_items(state, index)

    def inspect(self, state: S) -> dict[str, Tensor]:
        """Figures a person would want to see, by name: mostly those of the storage."""
        return {}

    @contextmanager
    def tracing(self) -> Iterator[list[Read]]:
        """Collect every ``Read`` from the storage while the block runs, in order, so that it can be drawn.

        Example:
            >>> from recollect import MemoryNetwork, VectorStorage
            >>> memory = MemoryNetwork(4, VectorStorage(4, 4, slots=3), hops=2)
            >>> state = memory.write(memory.initial_state(1), torch.randn(1, 3, 4))
            >>> with memory.tracing() as reads:
            ...     _ = memory.read(state, torch.randn(1, 1, 4))
            >>> [read.weights.shape for read in reads]  # (B, H, Q, N)
            [torch.Size([1, 1, 1, 3]), torch.Size([1, 1, 1, 3])]
        """
        reads: list[Read] = []
        self._traces.append(reads)
        try:
            yield reads
        finally:
            # By identity: lists of reads are not to be compared, least of all when traces are nested.
            self._traces = [trace for trace in self._traces if trace is not reads]

    def _observe(self, read: Read) -> Read:
        """Every read of the storage passes through here, for whoever is tracing."""
        for reads in self._traces:
            reads.append(read)
        return read
