"""A Conformer layer that padding cannot reach and that can go on from where it was."""

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.ops.heads import merge_heads, split_heads
from recollect.state import register_state


@register_state
class LayerState(NamedTuple):
    """What a layer goes on from.

    Attributes:
        attended: ``(B, L, D)``, the last steps that attention may look back to.
        convolved: ``(B, k − 1, D)``, the last steps that the convolution reaches back to.
    """

    attended: Tensor
    convolved: Tensor


@final
class ConformerLayer(nn.Module):
    """½ feed-forward, attention, convolution, ½ feed-forward, norm (Gulati et al. 2020, arXiv:2005.08100).

    torchaudio's layer lets the padding of a batch into the convolution and into the statistics of its norm,
    and knows neither limits of attention nor a state; here padded steps are zero before the convolution,
    which is normalised over features alone. As there, positions are told by the convolution only.

    Args:
        size: Width D.
        heads: Number H of attention heads.
        hidden: Width within the feed-forward parts.
        kernel: Steps k that the convolution spans.
        dropout: Share that is dropped in training.
        causal: Whether the convolution reaches back only; else to both sides.

    Raises:
        ValueError: If ``size`` is no multiple of ``heads``, or ``kernel`` is even.
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
        """``(B, T, D)`` → ``(B, T, D)`` and the state after.

        Args:
            x: The steps.
            mask: ``(B, T)`` bool, false where a step is padding.
            allowed: ``(B, T, L + T)`` bool, what each step may attend to; the L steps of the state first.
            state: Where to go on from; none for a recording as a whole.
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
    """Softmax attention in H heads over the steps of the state and those that are given."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm = nn.LayerNorm(size)
        self.ask = nn.Linear(size, size)
        self.tell = nn.Linear(size, 2 * size)
        self.leave = nn.Sequential(nn.Linear(size, size), nn.Dropout(dropout))

    def forward(self, x: Tensor, allowed: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``(B, T, D)`` → ``(B, T, D)``, and the last L steps."""
        x = self.norm(x)
        known = x if past is None else torch.cat([past, x], 1)
        query = split_heads(self.ask(x), self.heads)
        key, value = (split_heads(item, self.heads) for item in self.tell(known).chunk(2, -1))
        found = F.scaled_dot_product_attention(
            query, key, value, allowed.unsqueeze(1), self.dropout if self.training else 0.0
        )
        y: Tensor = self.leave(merge_heads(found))
        return y, None if past is None else known[:, known.shape[1] - past.shape[1] :]


@final
class Convolution(nn.Module):
    """Gated linear unit, depthwise convolution over time, norm, SiLU; padded steps are zero to it."""

    def __init__(self, size: int, kernel: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.kernel = kernel
        self.causal = causal
        self.enter = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GLU())
        self.depthwise = nn.Conv1d(size, size, kernel, groups=size)
        self.leave = nn.Sequential(nn.LayerNorm(size), nn.SiLU(), nn.Linear(size, size), nn.Dropout(dropout))

    def forward(self, x: Tensor, mask: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``(B, T, D)`` → ``(B, T, D)``, and the last k − 1 steps."""
        x = self.enter(x) * mask.unsqueeze(-1)
        reach = self.kernel - 1
        if past is not None:
            x = torch.cat([past, x], 1)
        else:
            x = F.pad(x, (0, 0, reach, 0) if self.causal else (0, 0, reach // 2, reach // 2))
        y: Tensor = self.leave(self.depthwise(x.mT).mT)
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
