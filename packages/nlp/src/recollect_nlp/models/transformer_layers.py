"""Layers of a pre-norm Transformer with incremental decoding."""

from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from recollect import Integration, Memory
from recollect.ops.heads import merge_heads, split_heads
from recollect.state import State, register_state

IntegrationFactory = Callable[[nn.Module, Memory], Integration]
"""Builds the integration of a layer and a memory: an ``Integration`` class or a function."""

MASKED = -1e9
"""Bias of masked scores; finite, so that the softmax of a fully masked row is not NaN."""


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
        self.query_proj = nn.Linear(model_size, model_size)
        self.key_proj = nn.Linear(model_size, model_size)
        self.value_proj = nn.Linear(model_size, model_size)
        self.out_proj = nn.Linear(model_size, model_size)
        for linear in (self.query_proj, self.key_proj, self.value_proj, self.out_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values ``(B, N, D)`` of ``x`` ``(B, N, D)``."""
        return self.key_proj(x), self.value_proj(x)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from ``x`` ``(B, T, D)``; ``bias`` ``(B or 1, 1, T or 1, N)`` is added to the scores.

        Returns:
            The output ``(B, T, D)`` and the weights ``(B, H, T, N)``.
        """
        queries, keys, values = (split_heads(item, self.heads) for item in (self.query_proj(x), keys, values))
        weights = ((queries * queries.shape[-1] ** -0.5) @ keys.mT + bias).softmax(-1)
        return self.out_proj(merge_heads(weights @ values)), weights


class FeedForward(nn.Sequential):
    """W₂ relu(W₁ x), position-wise.

    Args:
        model_size: Width D.
        hidden_size: Hidden width.
    """

    def __init__(self, model_size: int, hidden_size: int) -> None:
        super().__init__(nn.Linear(model_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, model_size))


class Layer(nn.Module):
    """The modules of a layer: attention and a feed-forward part, each with a norm before it.

    Args:
        model_size: Width D.
        hidden_size: Hidden width of the feed-forward part.
        heads: Number of heads.
        dropout: Dropout rate of the residual branches.
    """

    source_attention: Attention
    source_norm: nn.LayerNorm
    reads_source = False
    """Whether the layer also attends to an encoded source."""

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
        """Transform ``x`` ``(B, S, D)``; ``bias`` ``(B, 1, 1, S)`` is ``MASKED`` at padding."""
        y = self.attention_norm(x)
        x = x + self.dropout(self.attention(y, *self.attention.project(y), bias)[0])
        residual: Tensor = self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x + residual


@register_state
class LayerCache(NamedTuple):
    """Earlier steps of a decoder layer.

    Attributes:
        keys: ``(B, t, D)``, keys of self-attention.
        values: ``(B, t, D)``, values of self-attention.
        memory: State of the memory of the layer; empty without a memory.
    """

    keys: Tensor
    values: Tensor
    memory: State


@final
class DecoderLayer(Layer):
    """x + Attention(norm x, cache), x + Attention(norm x, source), x + FeedForward(norm x)."""

    reads_source = True

    def add_memory(self, memory: Memory, integration: IntegrationFactory) -> None:
        """Add a memory to the feed-forward part, which leaves the function unchanged at initialisation."""
        self.feed_forward = integration(self.feed_forward, memory)

    def initial_cache(self, like: Tensor) -> LayerCache:
        """Return an empty cache for a batch ``like`` ``(B, S, D)``, with the initial state of the memory."""
        empty = like.new_zeros(len(like), 0, like.shape[-1])
        memory: State = ()
        if isinstance(self.feed_forward, Integration):
            memory = self.feed_forward.initial_state(len(like), device=like.device, dtype=like.dtype)
        return LayerCache(empty, empty, memory)

    def forward(
        self, x: Tensor, cache: LayerCache, source: Tensor, source_bias: Tensor
    ) -> tuple[Tensor, LayerCache, Tensor]:
        """Continue by T steps.

        Args:
            x: ``(B, T, D)``.
            cache: Earlier steps.
            source: ``(B, S, 2D)`` keys and values of the source; see ``project_source``.
            source_bias: ``(B, 1, 1, S)``, ``MASKED`` at padding.

        Returns:
            The output ``(B, T, D)``, the cache with these steps, and the source attention ``(B, H, T, S)``.
        """
        y = self.attention_norm(x)
        key, value = self.attention.project(y)
        keys, values = torch.cat([cache.keys, key], 1), torch.cat([cache.values, value], 1)
        x = x + self.dropout(self.attention(y, keys, values, causal_bias(x, keys))[0])
        read, weights = self.source_attention(self.source_norm(x), *source.chunk(2, -1), source_bias)
        x = x + self.dropout(read)
        y, memory = self.feed_forward_norm(x), cache.memory
        if isinstance(self.feed_forward, Integration):
            y, memory = self.feed_forward(y, memory)
        else:
            y = self.feed_forward(y)
        return x + self.dropout(y), LayerCache(keys, values, memory), weights

    def project_source(self, encoded: Tensor) -> Tensor:
        """Return the keys and values ``(B, S, 2D)`` of the encoded source ``(B, S, D)``."""
        return torch.cat(self.source_attention.project(encoded), -1)


def causal_bias(x: Tensor, keys: Tensor) -> Tensor:
    """Return the causal bias ``(T, N)`` of ``x`` ``(B, T, D)``, the last steps of ``keys`` ``(B, N, D)``."""
    steps, total = x.shape[1], keys.shape[1]
    ahead = torch.ones(steps, total, dtype=torch.bool, device=x.device).triu(total - steps + 1)
    return x.new_zeros(steps, total).masked_fill(ahead, MASKED)
