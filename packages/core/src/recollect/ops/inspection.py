"""Whether Python may look at the values of a tensor."""

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
