"""Generation with Hugging Face's models: the states of memories belong to the key-value cache and follow it.

A call with a cache continues from the state that the memories had when the cache was filled, so that it
computes what a call with the whole sequence would. Where beam search reorders the cache, it reorders the
states, too.
"""

from collections.abc import Iterable, Mapping
from typing import Any, final

from torch import Tensor

from recollect.state import State, map_state, select_items

KEPT = "memory_states"
"""Attribute of a cache that holds the states, by the name of the layer."""


def find_cache(values: Iterable[Any]) -> Any:
    """Return the first value that is a key-value cache, or ``None``."""
    for value in values:
        if not isinstance(value, Tensor | str) and hasattr(value, "reorder_cache"):
            return value
    return None


def past_steps(cache: Any) -> int:
    """Number of steps that a cache holds; zero if there is none."""
    return 0 if cache is None else int(cache.get_seq_length())


def kept_states(cache: Any) -> dict[str, State] | None:
    """Return the states that belong to a cache, or ``None`` if it is empty or was filled without memories."""
    states: dict[str, State] | None = getattr(cache, KEPT, None) if past_steps(cache) else None
    return states


def keep_states(cache: Any, states: Mapping[str, State]) -> None:
    """Let states follow a cache."""
    if not hasattr(cache, KEPT):
        for method in ("reorder_cache", "batch_select_indices", "batch_repeat_interleave", "crop"):
            if hasattr(cache, method):
                setattr(cache, method, CacheMethod(cache, method))
    setattr(cache, KEPT, dict(states))


@final
class CacheMethod:
    """A method of a cache that changes the states of memories along with it.

    Args:
        cache: The cache.
        name: Name of the method.
    """

    def __init__(self, cache: Any, name: str) -> None:
        self.cache, self.name = cache, name

    def __call__(self, change: Any) -> None:
        """Call the method, and change the states."""
        states = getattr(self.cache, KEPT)
        if self.name == "crop" and change and states:
            raise NotImplementedError(
                "a memory cannot take back what it has written, as assisted generation asks for"
            )
        getattr(type(self.cache), self.name)(self.cache, change)
        if self.name == "batch_repeat_interleave":
            states = {name: _repeat(state, change) for name, state in states.items()}
        elif self.name != "crop":
            states = {name: select_items(state, change) for name, state in states.items()}
        setattr(self.cache, KEPT, states)


def _repeat(state: State, repeats: int) -> State:
    return map_state(lambda tensor: tensor.repeat_interleave(repeats, 0), state)
