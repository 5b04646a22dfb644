"""Hooks that see every read of a storage, like the forward hooks of ``torch.nn.Module``."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

from torch import nn
from torch.utils.hooks import RemovableHandle

from recollect.state import Read

ReadHook: TypeAlias = Callable[[Any, Any, Read], None]
"""Called as ``hook(storage, state, read)``."""


class ReadHooks(nn.Module):
    """A module whose reads can be traced; the base class of all storages."""

    def __init__(self) -> None:
        super().__init__()
        self._read_hooks: OrderedDict[int, ReadHook] = OrderedDict()

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
