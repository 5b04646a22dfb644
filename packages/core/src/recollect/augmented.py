"""What can be done with an augmented model: weights of its memories apart, and the way back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from recollect.attachment import detach, follow_calls, leave_calls, switch
from recollect.integrations.base import Integration
from recollect.memory_forward import augmented_layers


def memory_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """Return the parameters that ``augment`` has added, to train them alone or at a rate of their own.

    Example:
        >>> import torch
        >>> from recollect import PrototypeMemory, VectorStorage, augment
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).requires_grad_(False)
        >>> memory = PrototypeMemory(4, VectorStorage(4, 4, slots=8), prototypes=8)
        >>> model = augment(model, at="0", memory=memory)
        >>> optimizer = torch.optim.Adam(memory_parameters(model))
        >>> print_trainable_parameters(model)
        trainable params: 148 || all params: 179 || trainable%: 82.6816 || memory params: 149
    """
    seen: set[nn.Parameter] = set()
    for integration in _integrations(model).values():
        for parameter in integration.parameters():
            if parameter not in seen:
                seen.add(parameter)
                yield parameter


def memory_state_dict(model: nn.Module) -> dict[str, Any]:
    """Return the weights of memories and integrations: the part of ``state_dict`` that ``augment`` added."""
    return _partition(model)[0]


def model_state_dict(model: nn.Module) -> dict[str, Any]:
    """Return the weights of the model without its memories: a checkpoint of the plain model."""
    return _partition(model)[1]


def load_memory_state_dict(model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Load what ``memory_state_dict`` has returned.

    Raises:
        ValueError: If it is of other memories; the model is then unchanged.
    """
    own = memory_state_dict(model)
    if missing := own.keys() - state_dict.keys():
        raise ValueError(f"the checkpoint is of another memory: it lacks {_listed(missing)}")
    if unexpected := state_dict.keys() - own.keys():
        raise ValueError(f"the checkpoint is of another memory: the model has no {_listed(unexpected)}")
    for name, value in own.items():
        given = state_dict[name]
        if isinstance(value, Tensor) and (not isinstance(given, Tensor) or given.shape != value.shape):
            shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise ValueError(
                f"the checkpoint is of another memory: {name} is {shape} there and {tuple(value.shape)} in "
                "the model"
            )
    model.load_state_dict(dict(state_dict), strict=False)


@contextmanager
def without_memory(model: nn.Module) -> Iterator[None]:
    """Let ``model`` compute what it did before it was given memories, to the bit, inside the block.

    Example:
        >>> import torch
        >>> from recollect import PrototypeMemory, VectorStorage, augment
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        >>> before = model(torch.ones(1, 4))
        >>> memory = PrototypeMemory(4, VectorStorage(4, 4, slots=8), prototypes=8)
        >>> model = augment(model, at="0", memory=memory)
        >>> _ = nn.init.normal_(model[0].memory.out_proj.weight)
        >>> with without_memory(model):
        ...     bool((model(torch.ones(1, 4)) == before).all())
        True
    """
    layers = list(augmented_layers(model).values())
    callers = leave_calls(model)
    for layer in layers:
        switch(layer, on=False)
    try:
        yield
    finally:
        for layer in layers:
            switch(layer, on=True)
        for caller in callers:
            follow_calls(caller)


def remove_memory(model: nn.Module) -> None:
    """Take all memories away: modules, parameters and hooks. The model is then what it was before.

    Raises:
        ValueError: If something else has replaced the ``forward`` of a layer with a memory.
    """
    layers = augmented_layers(model)
    found = {layer.__dict__["forward"].integration for layer in layers.values()}
    for name, integration in _integrations(model).items():
        if integration not in found:
            raise ValueError(f"cannot remove {name}: the forward of its layer was replaced; undo that first")
    leave_calls(model)
    for layer in layers.values():
        detach(layer)


def print_trainable_parameters(model: nn.Module) -> None:
    """Print how many parameters are trained, how many there are, and how many belong to memories."""
    count = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    added = sum(parameter.numel() for parameter in memory_parameters(model))
    print(
        f"trainable params: {trained:,} || all params: {count:,} || "
        f"trainable%: {100 * trained / max(count, 1):.4f} || memory params: {added:,}"
    )


def _integrations(model: nn.Module) -> dict[str, Integration]:
    """The integrations that ``augment`` has added, by dotted name."""
    return {
        name: part
        for name, part in model.named_modules(remove_duplicate=False)
        if isinstance(part, Integration) and part.attached
    }


def _partition(model: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state dict in two parts: that of the memories and the rest."""
    prefixes = tuple(f"{name}." for name in _integrations(model))
    parts: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for name, value in model.state_dict().items():
        parts[not name.startswith(prefixes)][name] = value
    return parts


def _listed(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
