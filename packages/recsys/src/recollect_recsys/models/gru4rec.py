"""A recurrent network over the items of a session."""

from typing import final

from torch import Tensor, nn

from recollect_recsys.models.backbone import Backbone


@final
class GRU4Rec(Backbone):
    """h_t = GRU(x_t, h_{t−1}) (Hidasi et al. 2016, arXiv:1511.06939).

    Args:
        size: Width D of items and states.
        layers: Number of layers.
        dropout: Of items, and of states between layers.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> import torch
        >>> GRU4Rec(8)(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, size: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__(size)
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(size, size, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """See ``Backbone.forward``."""
        states: Tensor = self.gru(self.dropout(x))[0]
        return states
