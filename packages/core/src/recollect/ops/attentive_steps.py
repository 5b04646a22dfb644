"""The steps of a gated recurrence that attends to entries, forward and backward, without autograd.

Autograd records some thirty operations for a step of such a recurrence. Here a step takes about ten, forward
and backward, and everything that does not depend on the step before is done for all steps at once.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.attention import l2_normalize

BLOCK = 64
"""Steps of the backward pass whose attention weights are recomputed together, which bounds its memory."""


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


class Recurrence(NamedTuple):
    """The tensors of an attentive recurrence of T steps.

    Gates are ordered candidate (from hidden), reset, update, candidate for a GRU, of which the hidden state
    feeds the first three and the context the last three; and output, input, forget, candidate for an LSTM.

    Attributes:
        gates: ``(T, B, 4D)``, the input's part of the gates, with all biases.
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

    gates: Tensor
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
    """The states of a recurrence, before the first step and after each of T steps.

    Attributes:
        hidden: ``(T + 1, B, D)``.
        cell: ``(T + 1, B, D)``, or ``(T + 1, B, 0)`` for a GRU.
        context: ``(T + 1, B, V)``.
    """

    hidden: Tensor
    cell: Tensor
    context: Tensor


def run_forward(inputs: Recurrence, windows: Windows, cosine: bool) -> tuple[Course, Tensor]:
    """Run all steps, and return the states and the activations of the gates ``(T, B, 4D)``."""
    gates = inputs.gates.clone(memory_format=torch.contiguous_format)
    steps, size, lstm = len(gates), inputs.hidden.shape[-1], inputs.cell.shape[-1] > 0
    course = Course(*(state.new_empty(steps + 1, *state.shape) for state in inputs[-3:]))
    for buffer, state in zip(course, inputs[-3:], strict=True):
        buffer[0] = state
    hiddens, cells, contexts = (buffer.unbind(0) for buffer in course)
    from_hidden = gates[..., : inputs.hidden_weight.shape[-1]].unbind(0)
    from_context = gates[..., -inputs.context_weight.shape[-1] :].unbind(0)
    sigmoids = gates[..., : 3 * size].unbind(0) if lstm else gates[..., size : 3 * size].unbind(0)
    first, second, third, last = (part.unbind(0) for part in gates.chunk(4, -1))
    for t in range(steps):
        from_hidden[t].addmm_(hiddens[t], inputs.hidden_weight)
        from_context[t].addmm_(contexts[t], inputs.context_weight)
        sigmoids[t].sigmoid_()
        if lstm:
            last[t].tanh_()
            torch.mul(third[t], cells[t], out=cells[t + 1]).addcmul_(second[t], last[t])
            torch.tanh(cells[t + 1], out=hiddens[t + 1]).mul_(first[t])
        else:
            last[t].addcmul_(first[t], second[t]).tanh_()
            torch.lerp(last[t], hiddens[t], third[t], out=hiddens[t + 1])
        query = hiddens[t + 1] @ inputs.query_weight
        query = (l2_normalize(query) if cosine else query).unsqueeze(1)
        start, end = windows.bounds(t)
        scores = torch.baddbmm(inputs.bias[..., start:end], query, inputs.keys[:, start:end].mT)
        torch.bmm(scores.softmax(-1), inputs.values[:, start:end], out=contexts[t + 1].unsqueeze(1))
    return course, gates


class BackwardPass:
    """The backward pass of ``run_forward``.

    The derivatives of a step's gates by its hidden and cell state do not depend on later steps: they are
    computed first, for all steps. The loop over the steps then only carries the gradients of the states.
    """

    def __init__(
        self, inputs: Recurrence, course: Course, gates: Tensor, windows: Windows, cosine: bool
    ) -> None:
        self.inputs, self.course, self.windows, self.cosine = inputs, course, windows, cosine
        self.size, self.lstm = inputs.hidden.shape[-1], inputs.cell.shape[-1] > 0
        self.carried, *self.slopes = (_lstm_slopes if self.lstm else _gru_slopes)(course, gates)
        self.query = course.hidden[1:] @ inputs.query_weight  # (T, B, K)
        self.length = torch.linalg.vector_norm(self.query, dim=-1, keepdim=True)
        if cosine:
            tiny = max(1e-12, torch.finfo(self.query.dtype).tiny)
            self.length = self.length.clamp_min(tiny)
            self.query = self.query / self.length
        self.d_gates, self.d_query = torch.empty_like(gates), torch.empty_like(self.query)
        self.d_context = torch.empty_like(course.context)
        self.d_keys, self.d_values = torch.zeros_like(inputs.keys), torch.zeros_like(inputs.values)
        self.d_bias = torch.zeros_like(inputs.bias)

    def run(self, grads: Course) -> Recurrence:
        """Return the gradients of the inputs, given those of the states."""
        inputs, steps = self.inputs, len(self.d_gates)
        d_hidden, d_cell, d_context = (grad[-1].clone() for grad in grads)
        for start in reversed(range(0, steps, BLOCK)):
            block = range(start, min(start + BLOCK, steps))
            d_hidden, d_cell, d_context = self._block(block, grads, d_hidden, d_cell, d_context)
        before = Course(*(states[:-1].flatten(0, 1) for states in self.course))
        d_gates, after = self.d_gates.flatten(0, 1), self.course.hidden[1:].flatten(0, 1)
        return Recurrence(
            gates=self.d_gates,
            hidden_weight=before.hidden.mT @ d_gates[:, : inputs.hidden_weight.shape[-1]],
            context_weight=before.context.mT @ d_gates[:, -inputs.context_weight.shape[-1] :],
            query_weight=after.mT @ self.d_query.flatten(0, 1),
            keys=self.d_keys,
            values=self.d_values,
            bias=self.d_bias,
            hidden=d_hidden,
            cell=d_cell,
            context=d_context,
        )

    def _block(
        self, block: range, grads: Course, d_hidden: Tensor, d_cell: Tensor, d_context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run a block of steps backwards, given the gradients of the states after its last step."""
        first, last = self.windows.bounds(block[0])[0], self.windows.bounds(block[-1])[1]
        weights = self._weights(block, first, last)  # (steps, B, n)
        d_scores = torch.zeros_like(weights)
        for t in reversed(block):
            start, end = self.windows.bounds(t)
            seen, here = slice(start, end), slice(start - first, end - first)
            self.d_context[t + 1] = d_context
            d_weights = torch.bmm(d_context.unsqueeze(1), self.inputs.values[:, seen].mT)
            weight = weights[t - block[0], :, here].unsqueeze(1)
            score = torch._softmax_backward_data(d_weights, weight, -1, weight.dtype)
            d_scores[t - block[0], :, here] = score.squeeze(1)
            d_query = torch.bmm(score, self.inputs.keys[:, seen]).squeeze(1)
            if self.cosine:
                along = (self.query[t] * d_query).sum(-1, keepdim=True)
                d_query = d_query.addcmul_(self.query[t], along, value=-1).div_(self.length[t])
            self.d_query[t] = d_query
            d_hidden = d_hidden.addmm_(d_query, self.inputs.query_weight.mT)
            d_hidden, d_cell, d_context = self._step(t, grads, d_hidden, d_cell)
        after = slice(block[0] + 1, block[-1] + 2)
        self.d_values[:, first:last] += weights.permute(1, 2, 0) @ self.d_context[after].transpose(0, 1)
        query = self.query[block[0] : block[-1] + 1].transpose(0, 1)
        self.d_keys[:, first:last] += d_scores.permute(1, 2, 0) @ query
        self.d_bias[:, 0, first:last] += d_scores.sum(0)
        return d_hidden, d_cell, d_context

    def _step(self, t: int, grads: Course, d_hidden: Tensor, d_cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the cell of step t backwards: the gradients of the states before it."""
        inputs, d_gates = self.inputs, self.d_gates[t]
        if self.lstm:
            by_hidden, by_cell, to_cell = self.slopes
            d_cell = torch.addcmul(d_cell, d_hidden, to_cell[t])
            torch.mul(d_hidden, by_hidden[t], out=d_gates[:, : self.size])
            torch.mul(d_cell.unsqueeze(1), by_cell[t], out=d_gates.view(-1, 4, self.size)[:, 1:])
            carried, d_cell = grads.hidden[t], torch.addcmul(grads.cell[t], d_cell, self.carried[t])
        else:
            torch.mul(d_hidden.unsqueeze(1), self.slopes[0][t], out=d_gates.view(-1, 4, self.size))
            carried = torch.addcmul(grads.hidden[t], d_hidden, self.carried[t])
        from_hidden = d_gates[:, : inputs.hidden_weight.shape[-1]]
        from_context = d_gates[:, -inputs.context_weight.shape[-1] :]
        d_hidden = torch.addmm(carried, from_hidden, inputs.hidden_weight.mT)
        return d_hidden, d_cell, torch.addmm(grads.context[t], from_context, inputs.context_weight.mT)

    def _weights(self, block: range, first: int, last: int) -> Tensor:
        """Attention weights of a block of steps over the entries from ``first`` to ``last``."""
        query = self.query[block[0] : block[-1] + 1].transpose(0, 1)
        scores = torch.baddbmm(self.inputs.bias[..., first:last], query, self.inputs.keys[:, first:last].mT)
        if self.windows.growth:
            end = self.windows.old + torch.arange(block[0] + 1, block[-1] + 2, device=scores.device)
            entry, end = torch.arange(first, last, device=scores.device), end.unsqueeze(-1)
            seen = (entry >= end - self.windows.size) & (entry < end)
            scores = scores.masked_fill_(~seen, -torch.inf)
        return scores.softmax(-1).transpose(0, 1).contiguous()


def _gru_slopes(course: Course, gates: Tensor) -> tuple[Tensor, ...]:
    """How far a GRU hands on h, ``(T, B, D)``, and d gates / d h', ``(T, B, 4, D)``."""
    from_hidden, reset, update, candidate = gates.chunk(4, -1)
    to_candidate = (1 - update) * (1 - candidate.square())
    slopes = (
        to_candidate * reset,
        to_candidate * from_hidden * reset * (1 - reset),
        (course.hidden[:-1] - candidate) * update * (1 - update),
        to_candidate,
    )
    return update, torch.stack(slopes, -2)


def _lstm_slopes(course: Course, gates: Tensor) -> tuple[Tensor, ...]:
    """How far an LSTM hands on its cell state, and d gates / d h', d gates / d cell, d cell / d h'."""
    output, entered, forget, candidate = gates.chunk(4, -1)
    squashed = course.cell[1:].tanh()
    by_cell = (
        candidate * entered * (1 - entered),
        course.cell[:-1] * forget * (1 - forget),
        entered * (1 - candidate.square()),
    )
    by_hidden, to_cell = squashed * output * (1 - output), output * (1 - squashed.square())
    return forget, by_hidden, torch.stack(by_cell, -2), to_cell
