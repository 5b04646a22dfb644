"""Calls of a layer with any signature."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from recollect.integrations.layout import padding_mask

PADDING_ARGUMENTS = ("src_key_padding_mask", "tgt_key_padding_mask", "key_padding_mask")
"""Arguments of PyTorch's layers that mark padding in their first input."""


class Call(NamedTuple):
    """A call of a layer, with the first argument separate from the others.

    Attributes:
        x: The first argument.
        with_input: Makes the call with another first argument.
        mask: ``(B, T)`` bool, false at padding; ``None`` if the arguments do not mark any.
        memory_kwargs: Further arguments of the memory's ``forward``.
    """

    x: Any
    with_input: Callable[[Any], Any]
    mask: Tensor | None
    memory_kwargs: Mapping[str, Any] = MappingProxyType({})


class LayerCall:
    """Splits calls of ``layer`` into first argument, rest and mask.

    Args:
        layer: The layer, whose ``forward`` names the arguments.
    """

    def __init__(self, layer: nn.Module) -> None:
        parameters = list(inspect.signature(layer.forward).parameters.values())
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.names = [p.name for p in positional]
        self.layer_name = type(layer).__name__

    def split(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Split a call into its first argument, the rest, and the padding that the rest marks."""
        if args:
            x, args = args[0], args[1:]
        elif self.names and self.names[0] in kwargs:
            x = kwargs[self.names[0]]
            kwargs = {name: value for name, value in kwargs.items() if name != self.names[0]}
        else:
            raise TypeError(f"{self.layer_name} was called without its first argument")
        named = dict(zip(self.names[1:], args, strict=False)) | kwargs
        padding = next(
            (named[name] for name in PADDING_ARGUMENTS if isinstance(named.get(name), Tensor)), None
        )
        mask = None if padding is None else padding_mask(padding)

        def with_input(new: Any) -> Any:
            # Self-attention takes x three times, as query, key and value; replace it everywhere.
            others = [new if value is x else value for value in args]
            return layer(new, *others, **{k: new if value is x else value for k, value in kwargs.items()})

        return Call(x, with_input, mask)


def first_output(output: Any) -> Tensor:
    """Return the first output of a layer.

    Raises:
        TypeError: If the first output is not a tensor.
    """
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, Tensor):
        raise TypeError(
            "a layer with a memory must return a tensor or a tuple that starts with one, "
            f"got {type(first).__name__}"
        )
    return first


def replace_first(output: Any, first: Tensor) -> Any:
    """Return ``output`` with its first tensor replaced by ``first``."""
    if isinstance(output, Tensor):
        return first
    if hasattr(output, "_fields"):
        return type(output)(first, *output[1:])
    return type(output)([first, *output[1:]])
