"""Gated recurrent cells, given the products with their weight matrices."""

import torch
from torch import Tensor


def gru_cell(from_input: Tensor, from_hidden: Tensor, hidden: Tensor) -> Tensor:
    """GRU cell: h' = n + z ⊙ (h − n), with gates r, z, n as in ``torch.nn.GRU``.

    Args:
        from_input: ``(…, 3D)``, W x + b for the gates r, z, n.
        from_hidden: ``(…, 3D)``, U h + b; r multiplies its last third.
        hidden: ``(…, D)``, h.

    Returns:
        h' ``(…, D)``.
    """
    size = hidden.shape[-1]
    reset, update = (from_input[..., : 2 * size] + from_hidden[..., : 2 * size]).sigmoid().chunk(2, -1)
    candidate = torch.addcmul(from_input[..., 2 * size :], reset, from_hidden[..., 2 * size :]).tanh()
    return candidate + update * (hidden - candidate)


def lstm_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """LSTM cell: c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c').

    Args:
        gates: ``(…, 4D)``, pre-activations in the order i, f, o, g.
        cell: ``(…, D)``, c.

    Returns:
        h' and c', each ``(…, D)``.
    """
    size = cell.shape[-1]
    input_gate, forget_gate, output_gate = gates[..., : 3 * size].sigmoid().chunk(3, -1)
    cell = forget_gate * cell + input_gate * gates[..., 3 * size :].tanh()
    return output_gate * cell.tanh(), cell
