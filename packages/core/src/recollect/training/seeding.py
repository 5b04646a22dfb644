"""The random number generators of a process: seeded for a while, read, and set."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch

WORD = 2**64
"""Seeds are taken modulo this."""


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed all generators from ``numbers`` inside the context, and restore them afterwards.

    The generators of python, numpy and torch on the CPU are meant; ``torch.manual_seed`` would seed the GPUs
    as well, which takes longer than most batches.

    Example:
        >>> with seeded(0, 3):
        ...     first = torch.rand(2)
        >>> with seeded(0, 3):
        ...     bool((torch.rand(2) == first).all())
        True
    """
    before = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    words = np.random.SeedSequence([number % WORD for number in numbers]).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.default_generator.manual_seed((int(words[2]) << 31) ^ int(words[3]))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.default_generator.set_state(before[2])


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of all generators in types that ``torch.load(weights_only=True)`` reads.

    Args:
        device: The GPU whose generator is included, or the CPU.
    """
    version, words, gauss = random.getstate()
    kind, keys, *rest = cast(tuple[Any, ...], np.random.get_state(legacy=True))
    return {
        "python": [version, list(words), gauss],
        "numpy": [kind, keys.tolist(), *rest],
        "torch": torch.default_generator.get_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Set all generators to ``states``; that of a GPU only if the states include one."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.default_generator.set_state(states["torch"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
