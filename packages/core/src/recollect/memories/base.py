"""The base class of all memories: layers between a network's features and a storage."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Generic

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar  # typing's has no defaults before Python 3.13

from recollect.state import Read, S, select_items, where_items
from recollect.storages.base import Storage
from recollect.validation import check_positive

St = TypeVar("St", bound=Storage, default=Storage)


class Memory(nn.Module, ABC, Generic[S, St]):
    """A layer that turns features into keys, values and queries of a storage; input and output have width D.

    Like a storage, a memory keeps no state of its own: ``y, state = memory(x, state)``. The storage
    determines the widths of keys and values. A memory that needs more of it than read, write and erase says
    so in its type, ``Memory[State, SlotStorage]``, and in ``storage_type``.

    Args:
        model_size: Width D of input and output.
        storage: The storage to keep things in.
        write_on_forward: Write each step to the storage before reading at that step. Otherwise ``forward``
            only reads what ``write`` has stored.

    Raises:
        ValueError: If ``model_size`` is not positive or the storage is of another type.
    """

    storage_type: ClassVar[type[Storage]] = Storage  # type: ignore[type-abstract]
    """What the storage must be."""

    integer_keys: ClassVar[bool] = False
    """Whether the memory looks entries up by integers instead of real vectors."""

    forward_only: tuple[str, ...] = ()
    """Names of the parts that ``forward`` uses and ``read``, ``write`` and ``erase`` do not."""

    takes_items = False
    """Whether ``forward`` takes ``items`` and ``items_mask``: what each step writes, instead of x."""

    lasting = False
    """Whether the memory owns its rows: a forward pass then only reads them."""

    def __init__(self, model_size: int, storage: St, write_on_forward: bool = False) -> None:
        super().__init__()
        check_positive(model_size=model_size)
        check_storage(storage, self)
        self.model_size = model_size
        self.storage = storage
        self.write_on_forward = write_on_forward

    @abstractmethod
    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> S:
        """Return an empty state with batch axes ``batch``."""

    @abstractmethod
    def forward(self, x: Tensor, state: S | None = None, mask: Tensor | None = None) -> tuple[Tensor, S]:
        """Run T steps in order.

        Args:
            x: ``(…, T, D)``.
            state: The state to start from; an initial state by default.
            mask: ``(…, T)`` bool; a step where it is false changes nothing and outputs zero.

        Returns:
            ``y`` ``(…, T, D)``, and the state after the last step.
        """

    @abstractmethod
    def write(self, state: S, x: Tensor, mask: Tensor | None = None) -> S:
        """Store W items ``x`` ``(…, W, D)``, where ``mask`` ``(…, W)`` is true."""

    @abstractmethod
    def read(self, state: S, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read with Q queries ``x`` ``(…, Q, D)``: ``(…, Q, D)``, zero where masked."""

    @abstractmethod
    def erase(self, state: S, x: Tensor, mask: Tensor | None = None) -> S:
        """Erase E items that were written as ``x`` ``(…, E, D)``, where ``mask`` ``(…, E)`` is true."""

    def _write_then_read(self, x: Tensor, state: S, mask: Tensor | None) -> tuple[Tensor, S]:
        """Write x_t, then read with x_t, step by step."""
        outputs = [x[..., :0, :]]
        for now in (slice(t, t + 1) for t in range(x.shape[-2])):
            mask_t = None if mask is None else mask[..., now]
            state = self.write(state, x[..., now, :], mask_t)
            outputs.append(self.read(state, x[..., now, :], mask_t))
        return torch.cat(outputs[1:] or outputs, -2), state

    def reset(self, state: S, where: Tensor) -> S:
        """Reset batch items to the initial state where ``where`` (bool, shape of the batch axes) is true."""
        return where_items(where, self.initial_state(*where.shape, device=where.device), state)

    def select(self, state: S, index: Tensor) -> S:
        """Select batch items ``index`` ``(B',)`` along the first batch axis."""
        return select_items(state, index)

    def inspect(self, state: S) -> dict[str, Tensor]:
        """Return figures to look at, by name; mostly those of the storage."""
        return {}

    @contextmanager
    def tracing(self) -> Iterator[list[Read]]:
        """Collect every read of the memory's storage, in order, while the block runs.

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

        def collect(storage: Storage, state: Any, read: Read) -> None:
            reads.append(read)

        with ExitStack() as hooks:
            for module in self.modules():
                if isinstance(module, Storage):
                    hooks.enter_context(module.register_read_hook(collect))
            yield reads


def check_storage(storage: Storage, memory: Memory[Any, Any]) -> None:
    """Check that a memory can use a storage.

    Raises:
        ValueError: If the storage is not of the memory's ``storage_type``, or has other keys.
    """
    ours, theirs = type(memory).__name__, type(storage).__name__
    if not isinstance(storage, memory.storage_type):
        raise ValueError(
            f"{ours} needs a {memory.storage_type.__name__}, which keeps entries apart; {theirs} is none"
        )
    if memory.integer_keys and not storage.integer_keys:
        raise ValueError(f"{ours} looks entries up by integers; set {theirs} to integer keys")
    if storage.integer_keys and not memory.integer_keys:
        raise ValueError(f"{theirs} is set to integer keys; {ours} makes keys of real numbers")
