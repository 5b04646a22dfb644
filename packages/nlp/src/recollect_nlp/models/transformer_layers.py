"""The layers of a pre-norm Transformer whose decoder can go on step by step."""

from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from recollect import Integration, Memory
from recollect.ops.heads import merge_heads, split_heads
from recollect.state import State, register_state

Join = Callable[[nn.Module, Memory], Integration]
"""How a memory joins a layer: an integration, or a function that makes one."""


LOWEST = -1e9
"""Added to a score that must not count; finite, so that a row of nothing else stays a number."""


@final
class Attention(nn.Module):
    """Multi-head attention, softmax(Q Kᵀ/√(D/H)) V (Vaswani et al. 2017, arXiv:1706.03762, eq. 1).

    Args:
        model_size: Width D.
        heads: Number H of heads.
    """

    def __init__(self, model_size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(model_size, model_size)
        self.key = nn.Linear(model_size, model_size)
        self.value = nn.Linear(model_size, model_size)
        self.output = nn.Linear(model_size, model_size)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``(B, N, D)`` of what may be attended to, ``x`` ``(B, N, D)``."""
        return self.key(x), self.value(x)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from ``x`` ``(B, T, D)``; ``bias`` ``(B or 1, 1, T or 1, N)`` is added to the scores.

        Returns:
            What was read ``(B, T, D)`` and the weights ``(B, H, T, N)``.
        """
        queries, keys, values = (split_heads(item, self.heads) for item in (self.query(x), keys, values))
        weights = ((queries * queries.shape[-1] ** -0.5) @ keys.mT + bias).softmax(-1)
        return self.output(merge_heads(weights @ values)), weights


class FeedForward(nn.Sequential):
    """W₂ relu(W₁ x): the same at each position.

    Args:
        model_size: Width D.
        hidden_size: Width in between.
    """

    def __init__(self, model_size: int, hidden_size: int) -> None:
        super().__init__(nn.Linear(model_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, model_size))


class Layer(nn.Module):
    """The parts of a layer: attention and a feed-forward part, each with a norm before it.

    Args:
        model_size: Width D.
        hidden_size: Width of the feed-forward part.
        heads: Number of heads.
        dropout: Of what each part adds.
    """

    source_attention: Attention
    source_norm: nn.LayerNorm
    reads_source = False
    """Whether it also attends to an encoded source."""

    def __init__(self, model_size: int, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(model_size, heads)
        self.attention_norm = nn.LayerNorm(model_size)
        if self.reads_source:
            self.source_attention = Attention(model_size, heads)
            self.source_norm = nn.LayerNorm(model_size)
        self.feed_forward: nn.Module = FeedForward(model_size, hidden_size)
        self.feed_forward_norm = nn.LayerNorm(model_size)
        self.dropout = nn.Dropout(dropout)


@final
class EncoderLayer(Layer):
    """x + Attention(norm x), then x + FeedForward(norm x)."""

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """``x`` ``(B, S, D)``; ``bias`` ``(B, 1, 1, S)`` is −∞ at padding."""
        y = self.attention_norm(x)
        x = x + self.dropout(self.attention(y, *self.attention.project(y), bias)[0])
        added: Tensor = self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x + added


@register_state
class Past(NamedTuple):
    """What a decoder layer knows of the steps before.

    Attributes:
        keys: ``(B, t, D)`` of self-attention.
        values: ``(B, t, D)``.
        memory: State of the layer's memory; empty without one.
    """

    keys: Tensor
    values: Tensor
    memory: State


@final
class DecoderLayer(Layer):
    """x + Attention(norm x, past), x + Attention(norm x, source), x + FeedForward(norm x)."""

    reads_source = True

    def carry(self, memory: Memory, join: Join) -> None:
        """Give the feed-forward part a memory; at first the layer does what it did before."""
        self.feed_forward = join(self.feed_forward, memory)

    def initial_past(self, like: Tensor) -> Past:
        """Nothing before, and the memory's initial state, for a batch ``like`` ``(B, S, D)``."""
        nothing = like.new_zeros(len(like), 0, like.shape[-1])
        memory: State = ()
        if isinstance(self.feed_forward, Integration):
            memory = self.feed_forward.initial_state(len(like), device=like.device, dtype=like.dtype)
        return Past(nothing, nothing, memory)

    def forward(
        self, x: Tensor, past: Past, source: Tensor, source_bias: Tensor
    ) -> tuple[Tensor, Past, Tensor]:
        """Go on by T steps.

        Args:
            x: ``(B, T, D)``.
            past: What self-attention may look back at.
            source: ``(B, S, 2D)`` keys and values of the source, see ``read_source``.
            source_bias: ``(B, 1, 1, S)``, very low at padding.

        Returns:
            ``(B, T, D)``, the past with these steps, and the weights over the source ``(B, H, T, S)``.
        """
        y = self.attention_norm(x)
        key, value = self.attention.project(y)
        keys, values = torch.cat([past.keys, key], 1), torch.cat([past.values, value], 1)
        x = x + self.dropout(self.attention(y, keys, values, causal_bias(x, keys))[0])
        read, weights = self.source_attention(self.source_norm(x), *source.chunk(2, -1), source_bias)
        x = x + self.dropout(read)
        y, memory = self.feed_forward_norm(x), past.memory
        if isinstance(self.feed_forward, Integration):
            y, memory = self.feed_forward(y, memory)
        else:
            y = self.feed_forward(y)
        return x + self.dropout(y), Past(keys, values, memory), weights

    def read_source(self, encoded: Tensor) -> Tensor:
        """Keys and values ``(B, S, 2D)`` of the encoded source ``(B, S, D)``, once for all steps."""
        return torch.cat(self.source_attention.project(encoded), -1)


def causal_bias(x: Tensor, keys: Tensor) -> Tensor:
    """Very low where one of T steps, the last of ``keys`` ``(B, N, D)``, would look ahead: ``(T, N)``."""
    steps, total = x.shape[1], keys.shape[1]
    ahead = torch.ones(steps, total, dtype=torch.bool, device=x.device).triu(total - steps + 1)
    return x.new_zeros(steps, total).masked_fill(ahead, LOWEST)
