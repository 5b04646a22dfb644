"""Whether Python may look at the values of a tensor."""

import math

import torch
from torch import Tensor


def can_inspect(tensor: Tensor) -> bool:
    """Whether Python may look at the values: on CPU, and not while a graph is traced or ``vmap`` runs.

    Elsewhere a look would wait for the device, or is impossible.
    """
    return tensor.device.type == "cpu" and not is_traced(tensor)


def is_traced(tensor: Tensor) -> bool:
    """Whether a graph is traced or a transform of ``torch.func`` runs, so that there are no values."""
    return torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def sums_finite(tensor: Tensor) -> bool:
    """Whether the sum of all values is finite, which proves that they are; huge ones may overflow it.

    Costs one pass, and waits for the device.
    """
    return math.isfinite(tensor.detach().sum().item())


def all_full(presence: Tensor) -> bool:
    """Whether every presence ``(…, N)`` is known to be 1 and has no gradient."""
    if presence.requires_grad or not can_inspect(presence) or not presence.numel():
        return False
    return presence.amin().item() >= 1
