"""Measuring calls: processor time, side by side, and memory."""

import math
import statistics
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Call = Callable[[], object]
K = TypeVar("K", bound=Hashable)


def measure(
    calls: dict[K, Call], samples: int = 11, least: float = 0.02, slow: float = 0.3
) -> dict[K, float]:
    """Median processor seconds of each call.

    The calls take turns, so that whatever else the machine does hits all of them alike.

    Args:
        calls: By name or number of entries.
        samples: How many times each is timed; 3 for slow ones.
        least: Seconds that a sample lasts at least, at most 25 calls.
        slow: From how many seconds on a call is slow.
    """
    repeats = {}
    for size, call in calls.items():
        call()
        once = _seconds(call, 1)
        repeats[size] = (min(25, math.ceil(least / max(once, 1e-7))), samples if once < slow else 3)
    found: dict[K, list[float]] = {size: [] for size in calls}
    for sample in range(samples):
        for size, call in calls.items():
            count, wanted = repeats[size]
            if sample < wanted:
                found[size].append(_seconds(call, count))
    return {size: statistics.median(times) for size, times in found.items()}


def _seconds(call: Call, count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count


class Allocations(TorchDispatchMode):
    """Adds up the bytes of all tensors that the operations inside it make, apart from views.

    Tensors on the meta device have a shape and take no memory: they do not count.
    """

    def __init__(self, *given: torch.Tensor) -> None:
        super().__init__()
        self.seen = {tensor.untyped_storage().data_ptr() for tensor in given}
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Called by PyTorch for each operation."""
        arguments = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.seen | arguments:
                    self.bytes += storage.nbytes()
        return result
