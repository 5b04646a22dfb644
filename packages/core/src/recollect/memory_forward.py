"""The ``forward`` of layers with a memory, and finding these layers in a model."""

from typing import Any, final

import torch
from torch import Tensor, nn

from recollect.integrations.base import Integration
from recollect.memories.base import Memory
from recollect.session_stack import enclosing, in_recomputation
from recollect.state import State


@final
class MemoryForward:
    """The ``forward`` of a layer that has a memory; it stands in the layer's ``__dict__``.

    It takes the memory's state from the session of the call, and returns it there.

    Args:
        layer: The layer.
        integration: Its memory; a submodule of the layer, or of a part of it.
    """

    def __init__(self, layer: nn.Module, integration: Integration) -> None:
        self.layer = layer
        self.integration = integration
        self.replaced = layer.__dict__.get("forward")
        self.enabled = True

    @property
    def __wrapped__(self) -> Any:
        """The layer's own forward, whose signature this one has."""
        return self.replaced or type(self.layer).forward.__get__(self.layer)

    def own(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer without its memory."""
        if self.replaced is not None:
            return self.replaced(*args, **kwargs)
        return type(self.layer).forward(self.layer, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer with its memory."""
        if not self.enabled:
            return self.own(*args, **kwargs)
        in_backward = not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
        if in_backward and not in_recomputation():
            raise RuntimeError(
                "a layer with a memory is recomputed in the backward pass (activation checkpointing), but "
                "its state is gone: pass use_reentrant=False and context_fn=recollect.recomputing to "
                "torch.utils.checkpoint.checkpoint"
            )
        entry = enclosing([self.layer])
        if entry is None:
            return self.run(args, kwargs, None, None, None)[0]
        return entry.session.run(self, args, kwargs, entry)

    def run(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        state: State | None,
        mask: Tensor | None,
        model_mask: Tensor | None,
    ) -> tuple[Any, State]:
        """Call the layer with its memory and a state, and return the output and the next state.

        Raises:
            ValueError: With the name of the layer, where layer or memory raise one.
        """
        options: dict[str, Any] = {"model_mask": model_mask, "mask_grows": True}
        if torch.compiler.is_compiling():  # earlier versions cannot trace what is caught
            return self.integration.run(self.own, args, kwargs, state, mask, **options)
        try:
            return self.integration.run(self.own, args, kwargs, state, mask, **options)
        except ValueError as error:
            place = self.integration.place
            if type(error) is not ValueError or str(error).startswith(place):
                raise
            raise ValueError(f"{place}: {error}") from error


def memory_forward(layer: nn.Module) -> MemoryForward:
    """Return the ``MemoryForward`` of a layer with a memory."""
    forward: MemoryForward = layer.__dict__["forward"]
    return forward


def augmented_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of ``model`` that have a memory, by dotted name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer.__dict__.get("forward"), MemoryForward)
    }


def memories_of(model: nn.Module) -> dict[str, Memory]:
    """Return the memories of ``model``, by dotted name, to write, read and erase in a session's state."""
    return {name: memory_forward(layer).integration.memory for name, layer in augmented_layers(model).items()}
