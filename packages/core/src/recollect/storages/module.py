"""What every storage has as a module: sizes, a device and dtype, checks of its inputs, hooks on its reads."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from recollect.ops.masking import apply_mask, full_mask
from recollect.ops.sharing import fold_readers
from recollect.state import Read, S, first_tensor
from recollect.validation import (
    check_batch,
    check_inplace,
    check_positive,
    check_rows,
    check_strength,
    finite_rows,
)

ReadHook: TypeAlias = Callable[[Any, Any, Read], None]
"""Called as ``hook(storage, state, read)``."""


class NewEntries(NamedTuple):
    """Checked entries to be written.

    Attributes:
        key: ``(…, W, K)``, zero where masked.
        value: ``(…, W, V)``, zero where masked.
        strength: ``(…, W)``, zero where masked.
        mask: ``(…, W)`` bool.
    """

    key: Tensor
    value: Tensor
    strength: Tensor
    mask: Tensor


class StorageModule(nn.Module, ABC, Generic[S]):
    """The part of a ``Storage`` that knows tensors and their shapes, but not how they are stored.

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.

    Raises:
        ValueError: If a size is not positive.
    """

    integer_keys = False
    """Whether keys are integers (identities) instead of real vectors."""

    _reference: Tensor

    def __init__(self, key_size: int, value_size: int) -> None:
        super().__init__()
        self._read_hooks: OrderedDict[int, ReadHook] = OrderedDict()
        check_positive(key_size=key_size, value_size=value_size)
        self.key_size = key_size
        self.value_size = value_size
        self._state_axes: int | None = None  # number of axes of the first tensor of an unbatched state
        # Follows .to(…), and so determines the default device and dtype of a state.
        self.register_buffer("_reference", torch.empty(0), persistent=False)

    @abstractmethod
    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> S:
        """Return an empty state with batch axes ``batch``; none for a single, unbatched store.

        Device and dtype of keys and values are the module's own by default.
        """

    def _reject(self, state: S, count: Tensor) -> S:
        """Add to the state's count of rows that were not finite; overridden where it stands deeper."""
        return state._replace(rejected=state.rejected + count)  # type: ignore[attr-defined,no-any-return]

    # --- hooks ----------------------------------------------------------------------------------------------

    def register_read_hook(self, hook: ReadHook) -> RemovableHandle:
        """Register a function that is called after every read: by content, along links, in a scan.

        Args:
            hook: Called as ``hook(storage, state, read)`` with the state that was read.

        Returns:
            A handle whose ``remove()`` removes the hook. It is also a context manager.

        Example:
            >>> import torch
            >>> from recollect import VectorStorage
            >>> storage = VectorStorage(key_size=2, value_size=2, slots=4)
            >>> with storage.register_read_hook(lambda storage, state, read: print(read.value.shape)):
            ...     _ = storage.read(storage.initial_state(), torch.randn(3, 2))
            torch.Size([3, 2])
        """
        handle = RemovableHandle(self._read_hooks)
        self._read_hooks[handle.id] = hook
        return handle

    @property
    def traced(self) -> bool:
        """Whether a read hook is registered."""
        return bool(self._read_hooks)

    def report_read(self, state: Any, read: Read) -> Read:
        """Call the read hooks and return ``read``; for callers that attend to the entries themselves."""
        if self._read_hooks:
            for hook in list(self._read_hooks.values()):
                hook(self, state, read)
        return read

    # --- checks ---------------------------------------------------------------------------------------------

    def _check_rows(self, state: S, rows: Tensor, name: str, size: int, mask: Tensor | None) -> int:
        """Check that ``rows`` ``(…, n, size)`` and their mask fit ``state``.

        Returns:
            Number of leading batch axes that ``rows`` has and ``state`` lacks: it is shared by their items.
        """
        check_rows(rows, name, size, mask)
        return check_batch(rows, name, self._batch_axes(state))

    def _batch_axes(self, state: S) -> torch.Size:
        """Batch axes of a state."""
        if self._state_axes is None:
            self._state_axes = first_tensor(self.initial_state(device="meta")).dim()
        first = first_tensor(state)
        return first.shape[: first.dim() - self._state_axes]

    def _check_entries(
        self,
        state: S,
        key: Tensor,
        value: Tensor,
        strength: Tensor | None,
        mask: Tensor | None,
        inplace: bool,
    ) -> tuple[S, NewEntries, int]:
        """Check the entries to be written, and zero them where they are masked or not finite.

        Returns:
            The state with its count of rejected rows, the entries with the batch axes of the state, and the
            number of leading axes that the state lacks.
        """
        check_inplace(inplace)
        extra = self._check_rows(state, key, "key", self.key_size, mask)
        self._check_rows(state, value, "value", self.value_size, mask)
        if mask is None:
            mask = full_mask(key, None)
        else:
            key, value = apply_mask(key, mask), apply_mask(value, mask)
        full_strength = strength is None
        strength = self._check_strength(strength, mask, value)
        if extra:
            key, value = fold_readers(key, extra, -2), fold_readers(value, extra, -2)
            strength, mask = fold_readers(strength, extra, -1), fold_readers(mask, extra, -1)
        given = {} if full_strength else {"strength": strength}
        mask, rejected = finite_rows(mask, key=key, value=value, **given)
        if rejected is not None:
            state = self._reject(state, rejected)
            key, value, strength = (apply_mask(row, mask) for row in (key, value, strength))
        return state, NewEntries(key, value, strength, mask), extra

    def _check_strength(self, strength: Tensor | None, mask: Tensor, like: Tensor) -> Tensor:
        if strength is None:
            return mask.to(like.dtype if like.is_floating_point() else self._reference.dtype)
        return check_strength(strength, mask)

    def _factory_kwargs(self, device: torch.device | str | None, dtype: torch.dtype | None) -> dict[str, Any]:
        """Device and dtype of the floating-point tensors of a state."""
        return {"device": device or self._reference.device, "dtype": dtype or self._reference.dtype}

    def extra_repr(self) -> str:
        """The sizes, for ``repr``."""
        return f"key_size={self.key_size}, value_size={self.value_size}"
