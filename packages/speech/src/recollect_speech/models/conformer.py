"""A Conformer layer that ignores padding and can process a recording in chunks."""

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.ops.heads import merge_heads, split_heads
from recollect.state import register_state


@register_state
class LayerState(NamedTuple):
    """State of a layer between two chunks.

    Attributes:
        attended: ``(B, L, D)``, the last inputs of the attention.
        convolved: ``(B, k − 1, D)``, the last inputs of the convolution.
    """

    attended: Tensor
    convolved: Tensor


@final
class ConformerLayer(nn.Module):
    """½ feed-forward, attention, convolution, ½ feed-forward, norm (Gulati et al. 2020, arXiv:2005.08100).

    In torchaudio's layer the padding of a batch affects the convolution and its batch norm, and there is
    neither an attention mask nor a state. Here padded steps are zero before the convolution, which is
    followed by a layer norm. As in torchaudio, only the convolution encodes positions.

    Args:
        size: Width D.
        heads: Number H of attention heads.
        hidden: Hidden width of the feed-forward layers.
        kernel: Kernel size k of the convolution in steps; odd.
        dropout: Dropout rate.
        causal: Whether the convolution sees past steps only.

    Raises:
        ValueError: If ``size`` is not a multiple of ``heads``, or ``kernel`` is even.
    """

    def __init__(
        self,
        size: int,
        heads: int = 4,
        hidden: int = 256,
        kernel: int = 15,
        dropout: float = 0.1,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if size % heads:
            raise ValueError(f"size must be a multiple of heads, got {size} and {heads}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        self.first = _feed_forward(size, hidden, dropout)
        self.attention = Attention(size, heads, dropout)
        self.convolution = Convolution(size, kernel, dropout, causal)
        self.second = _feed_forward(size, hidden, dropout)
        self.norm = nn.LayerNorm(size)

    def forward(
        self, x: Tensor, mask: Tensor, allowed: Tensor, state: LayerState | None = None
    ) -> tuple[Tensor, LayerState | None]:
        """``(B, T, D)`` → ``(B, T, D)`` and the new state.

        Args:
            x: Input.
            mask: ``(B, T)`` bool, false at padded steps.
            allowed: ``(B, T, L + T)`` bool attention mask; the L steps of the state come first.
            state: State after the previous chunk; ``None`` for a whole recording.
        """
        x = x + 0.5 * self.first(x)
        attended, past = self.attention(x, allowed, None if state is None else state.attended)
        x = x + attended
        convolved, before = self.convolution(x, mask, None if state is None else state.convolved)
        x = x + convolved
        x = self.norm(x + 0.5 * self.second(x))
        return x, None if past is None or before is None else LayerState(past, before)


@final
class Attention(nn.Module):
    """Multi-head self-attention over the steps of the state and of the input."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm = nn.LayerNorm(size)
        self.query_proj = nn.Linear(size, size)
        self.key_value_proj = nn.Linear(size, 2 * size)
        self.out_proj = nn.Sequential(nn.Linear(size, size), nn.Dropout(dropout))

    def forward(self, x: Tensor, allowed: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``(B, T, D)`` → ``(B, T, D)``, and the last L inputs."""
        x = self.norm(x)
        context = x if past is None else torch.cat([past, x], 1)
        query = split_heads(self.query_proj(x), self.heads)
        key, value = (split_heads(item, self.heads) for item in self.key_value_proj(context).chunk(2, -1))
        found = F.scaled_dot_product_attention(
            query, key, value, allowed.unsqueeze(1), self.dropout if self.training else 0.0
        )
        y: Tensor = self.out_proj(merge_heads(found))
        return y, None if past is None else context[:, context.shape[1] - past.shape[1] :]


@final
class Convolution(nn.Module):
    """Gated linear unit, depthwise convolution over time, layer norm, SiLU; padded steps are zeroed."""

    def __init__(self, size: int, kernel: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.kernel = kernel
        self.causal = causal
        self.in_proj = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GLU())
        self.depthwise = nn.Conv1d(size, size, kernel, groups=size)
        self.out_proj = nn.Sequential(
            nn.LayerNorm(size), nn.SiLU(), nn.Linear(size, size), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, mask: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``(B, T, D)`` → ``(B, T, D)``, and the last k − 1 inputs of the convolution."""
        x = self.in_proj(x) * mask.unsqueeze(-1)
        reach = self.kernel - 1
        if past is not None:
            x = torch.cat([past, x], 1)
        else:
            x = F.pad(x, (0, 0, reach, 0) if self.causal else (0, 0, reach // 2, reach // 2))
        y: Tensor = self.out_proj(self.depthwise(x.mT).mT)
        return y, None if past is None else x[:, x.shape[1] - reach :]


def _feed_forward(size: int, hidden: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(size),
        nn.Linear(size, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, size),
        nn.Dropout(dropout),
    )
