"""A state that travels with a module: in its ``state_dict`` and to its device."""

from typing import Generic, final

from torch import Tensor, nn

from recollect.state import S, map_state


@final
class PersistentState(nn.Module, Generic[S]):
    """Keeps a state as buffers.

    Storages and memories have no state of their own, so that nothing leaks; what a model is to remember for
    good, as it does its weights, is kept here, where the model can see it.

    Args:
        state: What is kept at first; another that is kept later has tensors of the same shapes.

    Example:
        >>> import torch
        >>> from recollect import VectorStorage
        >>> storage = VectorStorage(2, 1, slots=3)
        >>> kept = PersistentState(storage.initial_state())
        >>> kept.set(storage.write(kept.get(), torch.ones(1, 2), torch.ones(1, 1)))
        >>> kept.get().clock, len(kept.state_dict())
        (tensor(1), 5)
    """

    def __init__(self, state: S) -> None:
        super().__init__()
        tensors: list[Tensor] = []

        def number(tensor: Tensor) -> Tensor:
            tensors.append(tensor)
            self.register_buffer(f"part_{len(tensors) - 1}", tensor.clone())
            return tensor

        self._like = map_state(number, state)

    def get(self) -> S:
        """The state."""
        parts = iter(self.buffers())
        return map_state(lambda _: next(parts), self._like)

    def set(self, state: S) -> None:
        """Keep another state."""
        parts = iter(self.buffers())
        map_state(lambda new: next(parts).copy_(new), state)
