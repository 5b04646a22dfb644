"""Targets from the nested lists of a request, checked against what the memory keeps."""

from typing import Any

import torch
from torch import Tensor

from recollect.lasting import IGNORED
from recollect.memories.neighbor import NeighborMemory
from recollect.serving.inputs import FieldError, InputSpec, read_tensor


def read_targets(value: Any, memory: NeighborMemory, most: int) -> Tensor:
    """Make targets from JSON: classes, vectors, or soft labels where the memory keeps them.

    Args:
        value: Nested lists, batch axis first.
        memory: The memory.
        most: Largest number of items.

    Raises:
        FieldError: If they do not fit.
    """
    width = memory.storage.value_size
    if memory.classes is None or (width > 1 and _is_real(value)):
        vectors = read_tensor("targets", value, InputSpec(torch.float32), most)
        if vectors.dim() < 2 or vectors.shape[-1] != width:
            raise FieldError("targets", f"must be vectors of {width} numbers")
        return vectors
    classes = read_tensor("targets", value, InputSpec(torch.int64), most)
    given = classes[classes != IGNORED]
    if given.numel() and not 0 <= given.min() <= given.max() < memory.classes:
        raise FieldError("targets", f"classes must be in [0, {memory.classes}), or {IGNORED} for none")
    return classes


def _is_real(value: Any) -> bool:
    """Whether the first number in nested lists is a float."""
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, float)
