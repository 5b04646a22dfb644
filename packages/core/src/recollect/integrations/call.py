"""Calling a layer whose signature is its own."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from recollect.integrations.layout import padding_mask

PADDING = ("src_key_padding_mask", "tgt_key_padding_mask", "key_padding_mask")
"""Arguments of PyTorch's layers that say which steps of their first input are padding."""


class Call(NamedTuple):
    """One call of a layer, its first argument apart from the others.

    Attributes:
        x: The first argument.
        rest: Makes the call, given something to take the place of ``x``.
        mask: ``(B, T)`` bool, false where the call says that a step is padding; ``None`` if it does not say.
    """

    x: Any
    rest: Callable[[Any], Any]
    mask: Tensor | None


class LayerCall:
    """Takes calls of ``layer`` apart, whatever its signature.

    Args:
        layer: Whose ``forward`` says what the arguments mean.
    """

    def __init__(self, layer: nn.Module) -> None:
        parameters = list(inspect.signature(layer.forward).parameters.values())
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.names = [p.name for p in positional]
        self.layer_name = type(layer).__name__

    def take_apart(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """The first argument, the rest, and the padding that the rest tells of."""
        if args:
            x, args = args[0], args[1:]
        elif self.names and self.names[0] in kwargs:
            x = kwargs[self.names[0]]
            kwargs = {name: value for name, value in kwargs.items() if name != self.names[0]}
        else:
            raise TypeError(f"{self.layer_name} was called without its first argument")
        named = dict(zip(self.names[1:], args, strict=False)) | kwargs
        padding = next((named[name] for name in PADDING if isinstance(named.get(name), Tensor)), None)
        mask = None if padding is None else padding_mask(padding)

        def rest(new: Any) -> Any:
            # Self-attention is given x three times over: what takes its place does so everywhere.
            others = [new if value is x else value for value in args]
            return layer(new, *others, **{k: new if value is x else value for k, value in kwargs.items()})

        return Call(x, rest, mask)


def first_of(output: Any) -> Tensor:
    """The tensor that a layer gives: its output, or the first of several.

    Raises:
        TypeError: If there is no such tensor.
    """
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, Tensor):
        raise TypeError(
            "a layer that is given a memory must return a tensor or a tuple that begins with one, "
            f"got {type(first).__name__}"
        )
    return first


def with_first(output: Any, first: Tensor) -> Any:
    """``output`` with ``first`` in the place of its tensor, and of the same type."""
    if isinstance(output, Tensor):
        return first
    if hasattr(output, "_fields"):
        return type(output)(first, *output[1:])
    return type(output)([first, *output[1:]])
