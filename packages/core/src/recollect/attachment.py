"""Attaching integrations to the layers of a model, and taking them away."""

from typing import Any

from torch import nn

from recollect.integrations.base import Integration
from recollect.memory_forward import MemoryForward, augmented_layers, memory_forward
from recollect.session import SessionOpener, close_session

NAME = "memory"
"""Name of the submodule that holds the integration of a layer."""

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""Modules whose submodules are the parts that they run."""

NESTED_BEFORE = "_nested_tensors_before_memory"
"""Attribute of a Transformer encoder whose nested tensors are off because of a memory."""


class Unfused:
    """A forward hook that does nothing.

    PyTorch's fused Transformer layers use the weights of their parts without calling them, unless a part
    has a hook.
    """

    def __call__(self, module: nn.Module, args: object, output: object) -> None:
        """Do nothing."""


def attach(layer: nn.Module, integration: Integration, name: str) -> None:
    """Let a layer run with a memory, in its place and under its name.

    The integration becomes a submodule of the layer. A container such as ``Sequential`` would take it for
    one of its parts, so that it becomes a submodule of the first part instead.

    Raises:
        ValueError: If the layer, called ``name`` in its model, has another attribute of that name.
    """
    host, attribute = layer, NAME
    while isinstance(host, CONTAINERS):
        if not len(host):
            raise ValueError(f"{name}: no memory for a container without parts, a {type(layer).__name__}")
        host, attribute = next(host.children()), f"outer_{attribute}"
    if hasattr(host, attribute):
        raise ValueError(
            f"{name}: no memory for a {type(host).__name__} with an attribute {attribute!r} of its own"
        )
    host.add_module(attribute, integration)
    layer.forward = MemoryForward(layer, integration)
    layer.register_forward_hook(Unfused())


def detach(layer: nn.Module) -> None:
    """Take the memory of a layer away."""
    forward = memory_forward(layer)
    forward.integration.unbind()
    for host in layer.modules():
        for name, part in list(host.named_children()):
            if part is forward.integration:
                delattr(host, name)
    if forward.replaced is None:
        del layer.__dict__["forward"]
    else:
        layer.forward = forward.replaced
    _remove_hooks(layer._forward_hooks, Unfused)


def switch(layer: nn.Module, on: bool) -> None:
    """Let an augmented layer run with or without its memory."""
    memory_forward(layer).enabled = on
    if on:
        layer.register_forward_hook(Unfused())
    else:
        _remove_hooks(layer._forward_hooks, Unfused)


# --- the model ----------------------------------------------------------------------------------------------


def follow_calls(model: nn.Module) -> None:
    """Let calls of the model open and close sessions, and turn off what memories cannot take.

    That are the nested tensors of PyTorch's Transformer encoders.
    """
    # A model of Hugging Face may be called without the model that it is part of: one with an adapter in
    # generation, or an encoder. It also has a mask of its own.
    inner = [part for part in model.modules() if hasattr(part, "main_input_name") and augmented_layers(part)]
    for caller in dict.fromkeys((model, *inner)):
        if not _follows(caller):
            caller.register_forward_pre_hook(SessionOpener(caller), prepend=True, with_kwargs=True)
            caller.register_forward_hook(close_session, always_call=True)
    for part in model.modules():
        if isinstance(part, nn.TransformerEncoder) and part.use_nested_tensor and augmented_layers(part):
            part.use_nested_tensor = False
            part.__dict__[NESTED_BEFORE] = True


def leave_calls(model: nn.Module) -> list[nn.Module]:
    """Undo ``follow_calls``, and return the modules that followed their calls."""
    callers = []
    for part in model.modules():
        if _follows(part):
            callers.append(part)
            for hooks in (part._forward_pre_hooks, part._forward_hooks):
                _remove_hooks(hooks, SessionOpener, close_session)
        if part.__dict__.pop(NESTED_BEFORE, False):
            part.__dict__["use_nested_tensor"] = True
    return callers


def _follows(caller: nn.Module) -> bool:
    return any(isinstance(hook, SessionOpener) for hook in caller._forward_pre_hooks.values())


def _remove_hooks(hooks: dict[int, Any], *unwanted: Any) -> None:
    """Remove hooks that are, or are instances of, one of ``unwanted``."""
    for key, hook in list(hooks.items()):
        if hook in unwanted or type(hook) in unwanted:
            del hooks[key]
