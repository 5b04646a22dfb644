"""The steps that a memory sees of a layer's input or output."""

from typing import Any

import torch
from torch import Tensor, nn

from recollect.integrations.call import Call
from recollect.integrations.layout import Layout, to_steps


def resolved_mask(call: Call, mask: Tensor | None, steps: Tensor) -> Tensor | None:
    """Return ``mask``, or by default the model's mask if it fits ``steps`` ``(B, T, D)``."""
    if mask is None and call.model_mask is not None and call.model_mask.shape == steps.shape[:-1]:
        return call.model_mask
    return mask


def checked_steps(x: Tensor, layout: Layout, mask: Tensor | None, size: int) -> Tensor:
    """Convert ``x`` to steps ``(B, T, D)``, and check that ``mask`` and the number of features match.

    Raises:
        TypeError: If ``x`` is not floating point.
        ValueError: If ``mask`` is not bool of shape ``(B, T)``, or D is not ``size``.
    """
    if not x.is_floating_point():
        raise TypeError(
            f"a memory reads real vectors, not {x.dtype}; Concatenation reads the layer's output instead"
        )
    steps = to_steps(x, layout)
    if steps.shape[-1] != size:
        raise ValueError(
            f"a tensor of shape {tuple(x.shape)} has {steps.shape[-1]} features in layout {layout!r}, but "
            f"the memory was made for {size}"
        )
    if mask is not None and (mask.dtype != torch.bool or mask.shape != steps.shape[:-1]):
        raise ValueError(
            f"the step mask must be bool of shape {tuple(steps.shape[:-1])}, got {mask.dtype} of shape "
            f"{tuple(mask.shape)}"
        )
    return steps


class Connect(torch.autograd.Function):
    """The identity of its first argument, which makes the others part of the graph without a gradient.

    DistributedDataParallel waits for every parameter. What a call writes has a gradient only if a later call
    reads it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: nn.Parameter) -> Tensor:
        """Return x."""
        ctx.count = len(parameters)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of x, and none for the others."""
        return gradient, *[None] * ctx.count
