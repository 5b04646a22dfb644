"""What the tests of several storages share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recollect.testing.trial import leaves


class LargestResult(TorchDispatchMode):
    """Notes the largest tensor that any operation makes, views of given memory aside."""

    def __init__(self, state: Any):
        super().__init__()
        self.given = {tensor.untyped_storage().data_ptr() for tensor in leaves(state)}
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if not isinstance(tensor, torch.Tensor) or tensor.is_meta:  # which takes no memory
                continue
            if tensor.untyped_storage().data_ptr() not in self.given:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.fixture
def watch_sizes() -> Callable[[Any], LargestResult]:
    """Makes a block in which ``seen.largest`` is told of what is made beside the tensors of a state."""
    return LargestResult
