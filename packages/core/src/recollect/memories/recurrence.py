"""One step of a recurrent network: f in h_t = f(x_t, h_{t−1}, c_{t−1})."""

from typing import Literal

import torch
from torch import Tensor, nn

Controller = Literal["none", "gru", "lstm"]


def controller_cell(kind: Controller, size: int) -> nn.GRUCell | nn.LSTMCell | None:
    """A cell that takes [x; c] of width 2D, or ``None`` where h is x itself.

    Raises:
        ValueError: If there is no such kind.
    """
    match kind:
        case "none":
            return None
        case "gru":
            return nn.GRUCell(2 * size, size)
        case "lstm":
            return nn.LSTMCell(2 * size, size)
    raise ValueError(f"controller must be one of none, gru, lstm, got {kind!r}")


def control(
    controller: nn.GRUCell | nn.LSTMCell, x: Tensor, context: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """Next hidden state ``(…, D)`` and the LSTM's cell, which a GRU leaves alone; all are ``(…, D)``."""
    given = torch.cat([x, context], -1)
    given, flat, flat_cell = (item.reshape(-1, item.shape[-1]) for item in (given, hidden, cell))
    if isinstance(controller, nn.LSTMCell):
        flat, flat_cell = controller(given, (flat, flat_cell))
    else:
        flat = controller(given, flat)
    return flat.reshape(hidden.shape), flat_cell.reshape(cell.shape)


def gru_cell(from_input: Tensor, from_hidden: Tensor, hidden: Tensor) -> Tensor:
    """Hidden state h' = n + z ⊙ (h − n) with gates r, z, n from both shares, as in ``torch.nn.GRU``.

    Args:
        from_input: ``(…, 3D)``.
        from_hidden: ``(…, 3D)``; r acts on its last third.
        hidden: ``(…, D)``.
    """
    size = hidden.shape[-1]
    reset, update = (from_input[..., : 2 * size] + from_hidden[..., : 2 * size]).sigmoid().chunk(2, -1)
    candidate = torch.addcmul(from_input[..., 2 * size :], reset, from_hidden[..., 2 * size :]).tanh()
    return candidate + update * (hidden - candidate)


def lstm_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Cell state c' = f ⊙ c + i ⊙ g; h' = o ⊙ tanh(c'), with gates in the order i, f, o, g.

    Args:
        gates: ``(…, 4D)``.
        cell: ``(…, D)``.
    """
    size = cell.shape[-1]
    enter, keep, show = gates[..., : 3 * size].sigmoid().chunk(3, -1)
    cell = keep * cell + enter * gates[..., 3 * size :].tanh()
    return show * cell.tanh(), cell
