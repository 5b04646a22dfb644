"""Tensors from the nested lists of a request, checked against what the model takes."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.float32, torch.float64, torch.int64)}
DTYPES |= {"float16": torch.float16, "bfloat16": torch.bfloat16, "int32": torch.int32, "bool": torch.bool}

_SPEC = re.compile(r"(?P<dtype>\w+)(\[(?P<shape>[\d,* ]*)\])?(<(?P<limit>\d+))?")


class FieldError(ValueError):
    """A field of a request is wrong; the message starts with its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")


class InputSpec(NamedTuple):
    """An input of a model.

    Attributes:
        dtype: Type of its numbers.
        shape: Sizes of the axes after the batch axis, ``None`` for any size; ``None`` for any shape.
        limit: Integers must be below this, and at least 0.
    """

    dtype: torch.dtype
    shape: tuple[int | None, ...] | None = None
    limit: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a spec such as ``float32[3,32,32]``, ``int64[*]<30000`` (token ids) or ``float32``.

        Raises:
            ValueError: If the text is no spec.

        Example:
            >>> InputSpec.parse("int64[*]<30000")
            InputSpec(dtype=torch.int64, shape=(None,), limit=30000)
        """
        found = _SPEC.fullmatch(text)
        if found is None or found["dtype"] not in DTYPES:
            raise ValueError(
                f"{text!r} is no input: give a dtype ({', '.join(DTYPES)}) and the axes after the batch, "
                "float32[3,32,32] or int64[*]<30000 for instance"
            )
        shape = None
        if found["shape"] is not None:
            sizes = [size.strip() for size in found["shape"].split(",") if size.strip()]
            if not all(size == "*" or size.isdigit() for size in sizes):
                raise ValueError(f"{text!r}: sizes are numbers or *")
            shape = tuple(None if size == "*" else int(size) for size in sizes)
        return cls(DTYPES[found["dtype"]], shape, int(found["limit"]) if found["limit"] else None)

    @classmethod
    def of(cls, example: Tensor) -> Self:
        """The spec of inputs like an example, batch axis first."""
        return cls(example.dtype, tuple(example.shape[1:]))

    def __str__(self) -> str:
        """The spec as text."""
        name = str(self.dtype).removeprefix("torch.")
        shape = "" if self.shape is None else f"[{','.join(str(size or '*') for size in self.shape)}]"
        return name + shape + (f"<{self.limit}" if self.limit is not None else "")

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of a batch."""
        real = self.dtype.is_floating_point
        item: dict[str, Any] = {"type": "number" if real else "integer"}
        if self.dtype == torch.bool:
            item = {"type": "boolean"}
        elif self.limit is not None:
            item |= {"minimum": 0, "maximum": self.limit - 1}
        if self.shape is None:
            return {"type": "array", "items": {}, "minItems": 1}
        for size in reversed(self.shape):
            item = {"type": "array", "items": item}
            if size is not None:
                item |= {"minItems": size, "maxItems": size}
        return {"type": "array", "items": item, "minItems": 1}


Inputs = InputSpec | Mapping[str, InputSpec]
"""The one input of a model, or its inputs by the names of its arguments."""


def inputs_of(example: Any) -> Inputs:
    """The specs of inputs like an example: a tensor, or tensors by argument name.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(example, Tensor):
        return InputSpec.of(example)
    if isinstance(example, Mapping) and all(isinstance(part, Tensor) for part in example.values()):
        return {name: InputSpec.of(part) for name, part in example.items()}
    raise ValueError(f"an example is a tensor, or tensors by argument name, not {type(example).__name__}")


def read_inputs(value: Any, inputs: Inputs, most: int) -> Tensor | dict[str, Tensor]:
    """Make the inputs of a model from JSON.

    Args:
        value: Nested lists, batch axis first; for several inputs, an object of these by argument name.
        inputs: What the model takes.
        most: Largest number of items.

    Raises:
        FieldError: If they do not fit.
    """
    if isinstance(inputs, InputSpec):
        return read_tensor("inputs", value, inputs, most)
    if not isinstance(value, dict) or set(value) != set(inputs):
        raise FieldError("inputs", f"must be an object with {', '.join(inputs)}")
    read = {name: read_tensor(f"inputs.{name}", value[name], spec, most) for name, spec in inputs.items()}
    sizes = {len(tensor) for tensor in read.values()}
    if len(sizes) > 1:
        raise FieldError("inputs", f"all need the same number of items, got {sorted(sizes)}")
    return read


def read_tensor(field: str, value: Any, spec: InputSpec, most: int) -> Tensor:
    """Make a tensor from nested lists.

    Raises:
        FieldError: With the name of the field, if they do not fit the spec.

    Example:
        >>> read_tensor("inputs", [[1, 2.5]], InputSpec.parse("float32[2]"), most=8)
        tensor([[1.0000, 2.5000]])
    """
    if not isinstance(value, list):
        raise FieldError(field, "must be a list of items")
    if not 1 <= len(value) <= most:
        raise FieldError(field, f"must have 1 to {most} items, got {len(value)}")
    tensor = _numbers(field, value, spec.dtype)
    _check_shape(field, tensor, spec)
    tensor = tensor.to(spec.dtype)
    if spec.dtype.is_floating_point and not tensor.isfinite().all():
        raise FieldError(field, f"numbers must be finite in {str(spec.dtype).removeprefix('torch.')}")
    if spec.limit is not None and tensor.numel() and not 0 <= tensor.min() <= tensor.max() < spec.limit:
        raise FieldError(field, f"integers must be in [0, {spec.limit})")
    return tensor


def _numbers(field: str, value: list[Any], dtype: torch.dtype) -> Tensor:
    """Nested lists as a tensor, if their numbers are of the kind of a dtype."""
    try:
        tensor = torch.tensor(value, device="cpu")
        if tensor.is_floating_point() and dtype.is_floating_point:
            tensor = torch.tensor(value, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise FieldError(field, "must be nested lists of numbers, of equal length at each level") from None
    if tensor.numel() == 0:
        raise FieldError(field, "has no numbers")
    boolean = dtype == torch.bool
    if boolean != (tensor.dtype == torch.bool):
        raise FieldError(field, f"must be {'true or false' if boolean else 'numbers, not true or false'}")
    if tensor.is_floating_point() and not dtype.is_floating_point:
        raise FieldError(field, "must be integers")
    if dtype == torch.int32 and not -(2**31) <= tensor.min() <= tensor.max() < 2**31:
        raise FieldError(field, "integers must fit in 32 bits")
    return tensor


def _check_shape(field: str, tensor: Tensor, spec: InputSpec) -> None:
    if spec.shape is None:
        return
    sizes = tuple(tensor.shape[1:])
    fits = len(sizes) == len(spec.shape) and all(
        expected in (None, size) for size, expected in zip(sizes, spec.shape, strict=True)
    )
    if not fits:
        shape = ", ".join(str(size or "*") for size in spec.shape)
        raise FieldError(field, f"each item must have the shape ({shape}), got {sizes}")
