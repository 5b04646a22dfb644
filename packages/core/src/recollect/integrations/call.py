"""Calls of a layer with any signature and any kind of output."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recollect.integrations.padding import marked_steps


class Call(NamedTuple):
    """A call of a layer, with the first argument separate from the others.

    Attributes:
        x: The first argument.
        with_input: Makes the call with another first argument.
        mask: ``(B, T)`` bool, false at padding; ``None`` if the arguments do not mark any.
        memory_kwargs: Further arguments of the memory's ``forward``.
        model_mask: Like ``mask``, for the input of the whole model.
    """

    x: Any
    with_input: Callable[[Any], Any]
    mask: Tensor | None
    memory_kwargs: Mapping[str, Any] = MappingProxyType({})
    model_mask: Tensor | None = None


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

    def split(self, layer: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Split a call into its first argument, the rest, and the padding that the rest marks."""
        if args:
            x, args = args[0], args[1:]
        else:
            name = self._first_keyword(kwargs)
            layer, x = _taking(layer, name), kwargs[name]
            kwargs = {key: value for key, value in kwargs.items() if key != name}
        named = dict(zip(self.names[1:], args, strict=False)) | kwargs

        def with_input(new: Any) -> Any:
            # Self-attention takes x three times, as query, key and value; replace it everywhere.
            others = [new if value is x else value for value in args]
            return layer(new, *others, **{k: new if value is x else value for k, value in kwargs.items()})

        return Call(x, with_input, marked_steps(named))

    def _first_keyword(self, kwargs: dict[str, Any]) -> str:
        """The name of the first argument of a call with keywords only."""
        if self.names and isinstance(kwargs.get(self.names[0]), Tensor | PackedSequence):
            return self.names[0]
        for name, value in kwargs.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                return name
        raise TypeError(f"{self.layer_name} was called without its first argument")


def _taking(layer: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Let a layer take its argument ``name`` as the first."""
    return lambda x, **kwargs: layer(**{name: x}, **kwargs)


# --- outputs ------------------------------------------------------------------------------------------------


def first_output(output: Any) -> Tensor:
    """Return the first tensor of features in what a layer returns: one with at least two axes.

    Args:
        output: A tensor, or a tuple, list, mapping or dataclass with one, such as the outputs of Hugging
            Face's models.

    Raises:
        TypeError: If there is none.
    """
    if isinstance(output, Tensor):
        return output
    items = output_items(output)
    for value in items.values():
        if isinstance(value, Tensor) and value.dim() >= 2 and value.is_floating_point():
            return value
    raise TypeError(
        "a layer with a memory must return a tensor of real numbers, or a tuple, mapping or dataclass with "
        f"one, got {type(output).__name__}"
    )


def replace_first(output: Any, first: Tensor) -> Any:
    """Return ``output`` with ``first_output`` replaced by ``first``."""
    if isinstance(output, Tensor):
        return first
    old = first_output(output)
    place = next(key for key, value in output_items(output).items() if value is old)
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return dataclasses.replace(output, **{place: first})
    if isinstance(output, Mapping):
        return type(output)({**output, place: first})  # type: ignore[call-arg]
    items = [first if key == place else value for key, value in enumerate(output)]
    return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)


def output_items(output: Any) -> dict[Any, Any]:
    """The parts of an output, by index, key or name of the field."""
    if dataclasses.is_dataclass(output):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    if isinstance(output, Mapping):
        return dict(output)
    return dict(enumerate(output)) if isinstance(output, tuple | list) else {}
