"""A storage's or memory's state as buffers of a module."""

from typing import Generic, final

from torch import Tensor, nn

from recollect.state import S, map_state


@final
class PersistentState(nn.Module, Generic[S]):
    """Registers the tensors of a state as buffers, so that it is saved and moved with the module.

    Storages and memories are functional: they take a state and return one. This module holds a state that
    outlives a batch.

    Args:
        state: The initial state; later states have tensors of the same shapes.

    Example:
        >>> import torch
        >>> from recollect import VectorStorage
        >>> storage = VectorStorage(2, 1, slots=3)
        >>> persistent = PersistentState(storage.initial_state())
        >>> persistent.set(storage.write(persistent.get(), torch.ones(1, 2), torch.ones(1, 1)))
        >>> persistent.get().clock, len(persistent.state_dict())
        (tensor(1), 5)
    """

    def __init__(self, state: S) -> None:
        super().__init__()
        tensors: list[Tensor] = []

        def register(tensor: Tensor) -> Tensor:
            tensors.append(tensor)
            self.register_buffer(f"part_{len(tensors) - 1}", tensor.clone())
            return tensor

        self._like = map_state(register, state)

    def get(self) -> S:
        """Return the state."""
        parts = iter(self.buffers())
        return map_state(lambda _: next(parts), self._like)

    def set(self, state: S) -> None:
        """Copy another state into the buffers."""
        parts = iter(self.buffers())
        map_state(lambda new: next(parts).copy_(new), state)
