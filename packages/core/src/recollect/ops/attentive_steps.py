"""The steps of a gated recurrence that attends to entries, without autograd.

Autograd records some thirty operations for a step of such a recurrence. Here a step takes about ten, and
everything that does not depend on the step before is done for all steps at once.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.attention import l2_normalize

FEW_STEPS = 8
"""Number of steps up to which a transposed copy of the keys costs more than it saves."""


class Windows(NamedTuple):
    """Which entries each step attends to: those before ``old + growth · (t + 1)``, and at most ``size``.

    Attributes:
        old: Entries that are there before the first step.
        growth: 1 if each step adds an entry, else 0.
        size: Number of entries that a step attends to at most.
    """

    old: int
    growth: int
    size: int

    def bounds(self, step: int) -> tuple[int, int]:
        """First entry of a step, and the one after its last."""
        end = self.old + self.growth * (step + 1)
        return max(0, end - self.size), end

    def span(self, step: int) -> tuple[int, int]:
        """First entry of a step, and the number of its entries."""
        start, end = self.bounds(step)
        return start, end - start


class Recurrence(NamedTuple):
    """The tensors of an attentive recurrence of T steps.

    Gates are ordered candidate, reset, update, candidate for a GRU, of which the hidden state feeds the first
    three, and input and context the last three; and output, input, forget, candidate for an LSTM.

    Attributes:
        x: ``(T, B, D)``, the input.
        input_weight: ``(D, 3D)`` or ``(D, 4D)``, from the input to the gates.
        gate_bias: ``(4D,)``.
        hidden_weight: ``(D, 3D)`` or ``(D, 4D)``, from the hidden state to the gates.
        context_weight: ``(V, 3D)`` or ``(V, 4D)``, from the context to the gates.
        query_weight: ``(D, K)``, from the hidden state to the query.
        keys: ``(B, N, K)``, scaled.
        values: ``(B, N, V)``.
        bias: ``(B, 1, N)``, added to the scores.
        hidden: ``(B, D)``, the first hidden state.
        cell: ``(B, D)``, the first cell state of an LSTM; ``(B, 0)`` for a GRU.
        context: ``(B, V)``, the first context.
    """

    x: Tensor
    input_weight: Tensor
    gate_bias: Tensor
    hidden_weight: Tensor
    context_weight: Tensor
    query_weight: Tensor
    keys: Tensor
    values: Tensor
    bias: Tensor
    hidden: Tensor
    cell: Tensor
    context: Tensor


class Course(NamedTuple):
    """The states of a recurrence after each of T steps.

    Attributes:
        states: ``(T, B, V + D)``, context and hidden state.
        cells: ``(T, B, D)``, the cell state of an LSTM; ``(T, B, 0)`` for a GRU.
    """

    states: Tensor
    cells: Tensor

    def contexts(self, size: int) -> Tensor:
        """The contexts ``(T, B, V)``, given the width D of the hidden state."""
        return self.states[..., : self.states.shape[-1] - size]

    def hiddens(self, size: int) -> Tensor:
        """The hidden states ``(T, B, D)``, given their width D."""
        return self.states[..., self.states.shape[-1] - size :]


def run_forward(inputs: Recurrence, windows: Windows, cosine: bool) -> tuple[Course, Tensor]:
    """Run all steps, and return the states and the activations of the gates ``(T, B, 4D)``."""
    gates, steps = _gates_from_input(inputs), len(inputs.x)
    size, lstm = inputs.hidden.shape[-1], inputs.cell.shape[-1] > 0
    course = Course(
        gates.new_empty(steps, len(inputs.hidden), inputs.context.shape[-1] + size),
        gates.new_empty(steps, *inputs.cell.shape),
    )
    contexts, hiddens = course.contexts(size).unbind(0), course.hiddens(size).unbind(0)
    cells = course.cells.unbind(0)
    from_hidden = gates[..., : inputs.hidden_weight.shape[-1]].unbind(0)
    from_context = gates[..., -inputs.context_weight.shape[-1] :].unbind(0)
    sigmoids = gates[..., : 3 * size].unbind(0) if lstm else gates[..., size : 3 * size].unbind(0)
    first, second, third, last = (part.unbind(0) for part in gates.chunk(4, -1))
    hidden_weight, context_weight = inputs.hidden_weight.contiguous(), inputs.context_weight.contiguous()
    keys = inputs.keys.mT.contiguous() if steps > FEW_STEPS else inputs.keys.mT  # read row by row
    hidden, cell, context = inputs[-3:]
    for t in range(steps):
        from_hidden[t].addmm_(hidden, hidden_weight)
        from_context[t].addmm_(context, context_weight)
        sigmoids[t].sigmoid_()
        if lstm:
            last[t].tanh_()
            cell = torch.mul(third[t], cell, out=cells[t]).addcmul_(second[t], last[t])
            hidden = torch.tanh(cell, out=hiddens[t]).mul_(first[t])
        else:
            last[t].addcmul_(first[t], second[t]).tanh_()
            hidden = torch.lerp(last[t], hidden, third[t], out=hiddens[t])
        query = torch.mm(hidden, inputs.query_weight)
        query = (l2_normalize(query) if cosine else query).unsqueeze(1)
        start, count = windows.span(t)  # narrow() takes a fraction of the time of an index
        scores = torch.baddbmm(inputs.bias.narrow(2, start, count), query, keys.narrow(2, start, count))
        context = torch.bmm(scores.softmax(-1), inputs.values.narrow(1, start, count)).squeeze(1)
        contexts[t].copy_(context)
    return course, gates


def _gates_from_input(inputs: Recurrence) -> Tensor:
    """The part of the gates ``(T, B, 4D)`` that depends on no step before: input and biases."""
    x, bias, size = inputs.x, inputs.gate_bias, inputs.hidden.shape[-1]
    gates = x.new_empty(*x.shape[:2], 4 * size)
    fed = inputs.input_weight.shape[-1]
    gates[..., : 4 * size - fed] = bias[: 4 * size - fed]
    torch.addmm(bias[-fed:], x.flatten(0, 1), inputs.input_weight, out=gates.flatten(0, 1)[:, -fed:])
    return gates
