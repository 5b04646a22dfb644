"""The backward pass of the steps in ``attentive_steps``, without autograd."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.attentive_steps import Course, Recurrence, Windows

BLOCK = 16
"""Steps that run as a block: what they need beside the gradients stays in the cache of a CPU."""


class Grads(NamedTuple):
    """Gradients of the states after a step.

    Attributes:
        hidden: ``(B, D)``.
        cell: ``(B, D)`` or ``(B, 0)``.
        context: ``(B, V)``.
    """

    hidden: Tensor
    cell: Tensor
    context: Tensor


class BackwardPass:
    """The gradients of ``run_forward``.

    The derivatives of a step's gates by its hidden and cell state do not depend on later steps: they are
    computed first, for a block of steps, and multiplied in place by the gradients of the states. The loop
    over the steps only carries these.
    """

    def __init__(
        self, inputs: Recurrence, course: Course, gates: Tensor, windows: Windows, cosine: bool
    ) -> None:
        self.inputs, self.gates, self.windows, self.cosine = inputs, gates, windows, cosine
        self.size, self.lstm = inputs.hidden.shape[-1], inputs.cell.shape[-1] > 0
        self.cells, self.hiddens, self.contexts = (
            course.cells,
            course.hiddens(self.size),
            course.contexts(self.size),
        )
        self.kept = gates.chunk(4, -1)[2]  # how far a step hands on h, or the cell state of an LSTM
        self.hidden_weight, self.context_weight, self.query_weight = (
            weight.mT.contiguous()
            for weight in (inputs.hidden_weight, inputs.context_weight, inputs.query_weight)
        )
        self.values = inputs.values.mT.contiguous()  # read row by row
        self.d_gates = gates.new_empty(min(BLOCK, len(gates)), *gates.shape[1:])
        zeros = [torch.zeros_like(item, memory_format=torch.contiguous_format) for item in inputs[1:-3]]
        self.grads = Recurrence(*[torch.empty_like(inputs.x), *zeros, *inputs[-3:]])

    def run(self, grads: Course) -> Recurrence:
        """Return the gradients of the inputs, given those of the states."""
        steps = len(self.gates)
        later = self._given(grads, steps - 1)
        later = later._replace(hidden=later.hidden.clone())
        for start in reversed(range(0, steps, BLOCK)):
            later = self._block(range(start, min(start + BLOCK, steps)), grads, later)
        return self.grads._replace(**later._asdict())

    def _given(self, grads: Course, t: int) -> Grads:
        """What comes from outside for the states after step t; zero before the first step."""
        if t < 0:
            return Grads(*(torch.zeros_like(state) for state in self.inputs[-3:]))
        return Grads(grads.hiddens(self.size)[t], grads.cells[t], grads.contexts(self.size)[t])

    def _fed(self, d_gates: Tensor) -> tuple[Tensor, Tensor]:
        """The gates that the hidden state feeds, and those that the context feeds."""
        hidden, context = self.inputs.hidden_weight.shape[-1], self.inputs.context_weight.shape[-1]
        return d_gates[..., :hidden], d_gates[..., -context:]

    def _block(self, block: range, grads: Course, later: Grads) -> Grads:
        """Run a block of steps backwards, given the gradients of the states after its last step."""
        first, last = self.windows.bounds(block[0])[0], self.windows.bounds(block[-1])[1]
        steps = slice(block[0], block[-1] + 1)
        self._fill_slopes(steps)
        query, length = self._queries(steps)
        weights = self._weights(block, query, first, last)  # (steps, B, n)
        d_scores, d_query = torch.zeros_like(weights), torch.empty_like(query)
        d_context = query.new_empty(len(block), *later.context.shape)
        for i, t in reversed(list(enumerate(block))):
            start, end = self.windows.bounds(t)
            here = slice(start - first, end - first)
            d_context[i] = later.context
            d_weights = torch.bmm(later.context.unsqueeze(1), self.values[..., start:end]).squeeze(1)
            along = (later.context * self.contexts[t]).sum(-1, keepdim=True)  # Σ weight · d_weight
            score = torch.mul(d_weights.sub_(along), weights[i, :, here], out=d_scores[i, :, here])
            torch.bmm(score.unsqueeze(1), self.inputs.keys[:, start:end], out=d_query[i].unsqueeze(1))
            if self.cosine:
                along = (query[i] * d_query[i]).sum(-1, keepdim=True)
                d_query[i].addcmul_(query[i], along, value=-1).div_(length[i])
            d_hidden = later.hidden.addmm_(d_query[i], self.query_weight)
            later = self._step(i, t, self._given(grads, t - 1), d_hidden, later.cell)
        self._add_to_weights(steps, d_query)
        self.grads.values[:, first:last].baddbmm_(weights.permute(1, 2, 0), d_context.transpose(0, 1))
        self.grads.keys[:, first:last].baddbmm_(d_scores.permute(1, 2, 0), query.transpose(0, 1))
        self.grads.bias[:, 0, first:last] += d_scores.sum(0)
        return later

    def _step(self, i: int, t: int, given: Grads, d_hidden: Tensor, d_cell: Tensor) -> Grads:
        """Run the cell of step t, the i-th of its block, backwards: the gradients of the states before it."""
        gates = self.d_gates[i].view(-1, 4, self.size)  # so far the slopes
        if self.lstm:
            d_cell = torch.addcmul(d_cell, d_hidden, self.to_cell[i])
            gates[:, 0].mul_(d_hidden)
            gates[:, 1:].mul_(d_cell.unsqueeze(1))
            hidden, d_cell = given.hidden, torch.addcmul(given.cell, d_cell, self.kept[t])
        else:
            gates.mul_(d_hidden.unsqueeze(1))
            hidden = torch.addcmul(given.hidden, d_hidden, self.kept[t])
        from_hidden, from_context = self._fed(self.d_gates[i])
        return Grads(
            torch.addmm(hidden, from_hidden, self.hidden_weight),
            d_cell,
            torch.addmm(given.context, from_context, self.context_weight),
        )

    def _fill_slopes(self, steps: slice) -> None:
        """Let the gradients of the gates be their derivatives by the states, for now."""
        gates, slopes = self.gates[steps], self.d_gates[: steps.stop - steps.start]
        if self.lstm:
            before = self._before(self.inputs.cell, self.cells, steps)
            self.to_cell = _lstm_slopes(before, self.cells[steps], gates, slopes)
        else:
            _gru_slopes(self._before(self.inputs.hidden, self.hiddens, steps), gates, slopes)

    @staticmethod
    def _before(initial: Tensor, states: Tensor, steps: slice) -> Tensor:
        """The states before each of some steps."""
        if steps.start:
            return states[steps.start - 1 : steps.stop - 1]
        return torch.cat([initial.unsqueeze(0), states[: steps.stop - 1]])

    def _add_to_weights(self, steps: slice, d_query: Tensor) -> None:
        """Add to the gradients of the weights, and compute that of the input."""
        inputs, grads, d_gates = self.inputs, self.grads, self.d_gates[: steps.stop - steps.start]
        from_hidden, from_context = self._fed(d_gates)
        from_input = d_gates[..., -inputs.input_weight.shape[-1] :]
        torch.mm(from_input.flatten(0, 1), inputs.input_weight.mT, out=grads.x[steps].flatten(0, 1))
        grads.gate_bias.add_(d_gates.sum((0, 1)))
        for weight, states, into in (
            (grads.input_weight, inputs.x[steps], from_input),
            (grads.hidden_weight, self._before(inputs.hidden, self.hiddens, steps), from_hidden),
            (grads.context_weight, self._before(inputs.context, self.contexts, steps), from_context),
            (grads.query_weight, self.hiddens[steps], d_query),
        ):
            weight.addmm_(states.flatten(0, 1).mT, into.flatten(0, 1))

    def _queries(self, steps: slice) -> tuple[Tensor, Tensor]:
        """The queries ``(steps, B, K)``, and their lengths before they were scaled."""
        query = self.hiddens[steps] @ self.inputs.query_weight
        length = torch.linalg.vector_norm(query, dim=-1, keepdim=True)
        length = length.clamp_min(max(1e-12, torch.finfo(query.dtype).tiny))
        return (query / length if self.cosine else query), length

    def _weights(self, block: range, query: Tensor, first: int, last: int) -> Tensor:
        """Attention weights of a block of steps over the entries from ``first`` to ``last``."""
        keys = self.inputs.keys[:, first:last].mT
        scores = torch.baddbmm(self.inputs.bias[..., first:last], query.transpose(0, 1), keys)
        if self.windows.growth:
            end = self.windows.old + torch.arange(block[0] + 1, block[-1] + 2, device=scores.device)
            entry, end = torch.arange(first, last, device=scores.device), end.unsqueeze(-1)
            seen = (entry >= end - self.windows.size) & (entry < end)
            scores = scores.masked_fill_(~seen, -torch.inf)
        return scores.softmax(-1).transpose(0, 1).contiguous()


def _gru_slopes(before: Tensor, gates: Tensor, slopes: Tensor) -> None:
    """Fill ``slopes`` ``(T, B, 4D)`` with the derivatives of the gates by h', given h before each step."""
    from_hidden, reset, update, candidate = gates.chunk(4, -1)
    by_from_hidden, by_reset, by_update, by_candidate = slopes.chunk(4, -1)
    torch.mul(candidate, candidate, out=by_candidate).neg_().add_(1)
    by_candidate.addcmul_(by_candidate, update, value=-1)  # (1 − candidate²) (1 − update)
    torch.mul(by_candidate, reset, out=by_from_hidden)
    torch.mul(by_from_hidden, from_hidden, out=by_reset)
    by_reset.addcmul_(by_reset, reset, value=-1)  # … · reset (1 − reset)
    torch.sub(before, candidate, out=by_update).mul_(update)
    by_update.addcmul_(by_update, update, value=-1)  # (h − candidate) update (1 − update)


def _lstm_slopes(before: Tensor, cells: Tensor, gates: Tensor, slopes: Tensor) -> Tensor:
    """Fill ``slopes`` with the derivatives of the output gate by h' and of the other gates by the cell state.

    Args:
        before: ``(T, B, D)``, the cell state before each step.
        cells: ``(T, B, D)``, the one after it.
        gates: ``(T, B, 4D)``, activations.
        slopes: ``(T, B, 4D)``, to be filled.

    Returns:
        The derivative of h' by the cell state, ``(T, B, D)``.
    """
    output, entered, forget, candidate = gates.chunk(4, -1)
    by_output, by_entered, by_forget, by_candidate = slopes.chunk(4, -1)
    squashed = cells.tanh()
    torch.mul(squashed, output, out=by_output).addcmul_(by_output, output, value=-1)
    torch.mul(candidate, entered, out=by_entered).addcmul_(by_entered, entered, value=-1)
    torch.mul(before, forget, out=by_forget).addcmul_(by_forget, forget, value=-1)
    torch.mul(candidate, candidate, out=by_candidate).neg_().add_(1).mul_(entered)
    return squashed.square_().neg_().add_(1).mul_(output)
