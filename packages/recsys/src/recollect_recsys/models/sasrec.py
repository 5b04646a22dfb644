"""Causal self-attention over the items of a session."""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.ops.heads import merge_heads, split_heads
from recollect_recsys.models.backbone import Backbone


@final
class SASRec(Backbone):
    """Causal self-attention over a session (Kang & McAuley 2018, arXiv:1808.09781).

    x_t √D + p_t, with positions p counted from the session's beginning, goes through blocks
    x + Attention(norm(x)), x + FFN(norm(x)), and a last norm.

    Args:
        size: Width D of items and states.
        steps: Longest session, as many as there are positions.
        layers: Number of blocks.
        heads: Attention heads, which must divide D.
        hidden: Width of the FFN; D by default.
        dropout: Of items, attention and blocks.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> SASRec(8, steps=5, heads=2)(torch.randn(2, 3, 8)).shape
        torch.Size([2, 3, 8])
    """

    def __init__(
        self,
        size: int,
        steps: int,
        layers: int = 2,
        heads: int = 1,
        hidden: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(size, steps)
        if layers < 1 or heads < 1 or size % heads:
            raise ValueError(
                f"layers must be positive and heads must divide {size}, got {layers} and {heads}"
            )
        self.positions = nn.Parameter(0.02 * torch.randn(steps, size))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(size, heads, hidden or size, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor) -> Tensor:
        """See ``Backbone.forward``.

        Raises:
            ValueError: If the session is longer than there are positions.
        """
        if x.shape[1] > len(self.positions):
            raise ValueError(f"a session of {x.shape[1]} items is longer than steps={len(self.positions)}")
        x = self.dropout(x * self.size**0.5 + self.positions[: x.shape[1]])
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.norm(x)
        return y


class Block(nn.Module):
    """x + Attention(norm(x)), then x + FFN(norm(x)).

    Args:
        size: Width D.
        heads: Attention heads.
        hidden: Width of the FFN.
        dropout: Of attention, of what it gives, and within the FFN.
    """

    def __init__(self, size: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm_attention = nn.LayerNorm(size)
        self.project = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.feed = nn.Sequential(
            nn.LayerNorm(size),
            nn.Linear(size, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, size),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` → ``(B, T, D)``; step t sees steps up to t."""
        parts = self.project(self.norm_attention(x)).chunk(3, -1)
        query, key, value = (split_heads(part, self.heads) for part in parts)
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        x = x + F.dropout(self.out(merge_heads(seen)), self.dropout, self.training)
        fed: Tensor = self.feed(x)
        return x + fed
