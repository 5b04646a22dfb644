"""A gated recurrence that attends to entries at every step, as one operation of the autograd graph."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from recollect.ops.attention import l2_normalize
from recollect.ops.attentive_backward import BackwardPass
from recollect.ops.attentive_operator import attentive_operator
from recollect.ops.attentive_steps import Course, Recurrence, Windows, run_forward
from recollect.ops.recurrence import gru_cell, lstm_cell


def attentive_recurrence(inputs: Recurrence, windows: Windows, cosine: bool) -> Course:
    """Run h_t = f(x_t, c_{t−1}, h_{t−1}), c_t = softmax(q_t · keys + bias) values, q_t = W_q h_t.

    A second derivative is that of ``attentive_recurrence_reference``; a compiled graph has none.

    Args:
        inputs: All tensors, in float32 or wider and of one dtype.
        windows: The entries that each step attends to.
        cosine: Scale q_t to length 1.
    """
    if torch.compiler.is_compiling():
        return attentive_operator(inputs, windows, cosine)
    return Course(*_AttentiveRecurrence.apply(windows, cosine, *inputs))


def attentive_recurrence_reference(inputs: Recurrence, windows: Windows, cosine: bool) -> Course:
    """Run the same steps one by one, with gradients by autograd."""
    size, lstm = inputs.hidden.shape[-1], inputs.cell.shape[-1] > 0
    hidden, cell, context = inputs[-3:]
    course = []
    fed = inputs.x @ inputs.input_weight
    gates_from_input = torch.nn.functional.pad(fed, (4 * size - fed.shape[-1], 0)) + inputs.gate_bias
    for t, gates in enumerate(gates_from_input.unbind(0)):
        from_hidden, from_context = hidden @ inputs.hidden_weight, context @ inputs.context_weight
        if lstm:
            output, *entered_and_forget, candidate = (gates + from_hidden + from_context).chunk(4, -1)
            ordered = torch.cat([*entered_and_forget, output, candidate], -1)
            hidden, cell = lstm_cell(ordered, cell)
        else:
            candidate = gates[..., :size] + from_hidden[..., :size]
            ordered = torch.cat([from_hidden[..., size:], candidate], -1)
            hidden = gru_cell(gates[..., size:] + from_context, ordered, hidden)
        query = hidden @ inputs.query_weight
        query = l2_normalize(query) if cosine else query
        seen = slice(*windows.bounds(t))
        scores = query.unsqueeze(-2) @ inputs.keys[:, seen].mT + inputs.bias[..., seen]
        context = (scores.softmax(-1) @ inputs.values[:, seen]).squeeze(-2)
        course.append((torch.cat([context, hidden], -1), cell))
    return Course(*(torch.stack(items) for items in zip(*course, strict=True)))


class _AttentiveRecurrence(torch.autograd.Function):
    """The recurrence as one operation of the graph."""

    @staticmethod
    def forward(ctx: FunctionCtx, windows: Windows, cosine: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run all steps; the gates end up as activations."""
        inputs = Recurrence(*tensors)
        with torch.autocast(inputs.x.device.type, enabled=False):
            course, gates = run_forward(inputs, windows, cosine)
        ctx.windows, ctx.cosine = windows, cosine  # type: ignore[attr-defined]
        ctx.save_for_backward(*tensors, *course, gates)
        return tuple(course)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        """Run all steps backwards."""
        *tensors, states, cells, gates = ctx.saved_tensors
        inputs = Recurrence(*tensors)
        with torch.autocast(inputs.x.device.type, enabled=False):
            if torch.is_grad_enabled():  # the gradient is to be differentiated in turn
                found = _reference_gradient(inputs, ctx.windows, ctx.cosine, grads)
            else:
                backward = BackwardPass(inputs, Course(states, cells), gates, ctx.windows, ctx.cosine)
                found = tuple(backward.run(Course(*grads)))
        return None, None, *found


def _reference_gradient(
    inputs: Recurrence, windows: Windows, cosine: bool, grads: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    course = attentive_recurrence_reference(inputs, windows, cosine)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    outputs = [(out, grad) for out, grad in zip(course, grads, strict=True) if out.requires_grad]
    found = iter(
        torch.autograd.grad(
            [out for out, _ in outputs],
            wanted,
            [grad for _, grad in outputs],
            create_graph=True,
            materialize_grads=True,
        )
    )
    return tuple(next(found) if tensor.requires_grad else None for tensor in inputs)
