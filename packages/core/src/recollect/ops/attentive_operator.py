"""The attentive recurrence as an operator of ``torch.compile``, which does not look inside.

Traced, T steps would become some fifteen operations each, and compile for minutes.
"""

from typing import Any

import torch
from torch import Tensor

from recollect.ops.attentive_backward import BackwardPass
from recollect.ops.attentive_steps import Course, Recurrence, Windows, run_forward


def attentive_operator(inputs: Recurrence, windows: Windows, cosine: bool) -> Course:
    """Run ``attentive_recurrence`` as one node of a compiled graph; it can be differentiated once."""
    states, cells, _ = _forward(list(inputs), *windows, cosine)
    return Course(states, cells)


@torch.library.custom_op("recollect::attentive_recurrence", mutates_args=())
def _forward(
    inputs: list[Tensor], old: int, growth: int, size: int, cosine: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return states, cell states and the activations of the gates."""
    tensors = Recurrence(*inputs)
    with torch.autocast(tensors.x.device.type, enabled=False):
        course, gates = run_forward(tensors, Windows(old, growth, size), cosine)
    return course.states, course.cells, gates


@_forward.register_fake
def _(inputs: list[Tensor], old: int, growth: int, size: int, cosine: bool) -> tuple[Tensor, Tensor, Tensor]:
    tensors = Recurrence(*inputs)
    steps, batch, width = *tensors.x.shape[:2], tensors.hidden.shape[-1]
    return (
        tensors.x.new_empty(steps, batch, tensors.context.shape[-1] + width),
        tensors.x.new_empty(steps, *tensors.cell.shape),
        tensors.x.new_empty(steps, batch, 4 * width),
    )


@torch.library.custom_op("recollect::attentive_recurrence_backward", mutates_args=())
def _backward(
    inputs: list[Tensor],
    kept: list[Tensor],
    grads: list[Tensor],
    old: int,
    growth: int,
    size: int,
    cosine: bool,
) -> list[Tensor]:
    """Return the gradients of ``inputs`` that are not empty.

    Args:
        inputs: The ``Recurrence``.
        kept: What the forward pass has returned.
        grads: The gradients of the states.
        old: See ``Windows``.
        growth: See ``Windows``.
        size: See ``Windows``.
        cosine: See ``attentive_recurrence``.
    """
    states, cells, gates = kept
    tensors, windows = Recurrence(*inputs), Windows(old, growth, size)
    with torch.autocast(tensors.x.device.type, enabled=False):
        backward = BackwardPass(tensors, Course(states, cells), gates, windows, cosine)
        return [grad for grad in backward.run(Course(*grads)) if grad.shape[-1]]


@_backward.register_fake
def _(
    inputs: list[Tensor],
    kept: list[Tensor],
    grads: list[Tensor],
    old: int,
    growth: int,
    size: int,
    cosine: bool,
) -> list[Tensor]:
    return [
        torch.empty_like(tensor, memory_format=torch.contiguous_format)
        for tensor in inputs
        if tensor.shape[-1]
    ]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, *ctx.options = inputs
    ctx.save_for_backward(*tensors, *output)


def _differentiate(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    *inputs, states, cells, gates = ctx.saved_tensors
    found = iter(_backward(inputs, [states, cells, gates], list(grads[:2]), *ctx.options))
    # An output that is empty would share its lack of memory with an empty input, which operators may not.
    return (
        [next(found) if item.shape[-1] else torch.zeros_like(item) for item in inputs],
        None,
        None,
        None,
        None,
    )


_forward.register_autograd(_differentiate, setup_context=_keep)
