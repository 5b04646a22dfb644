"""A Transformer translator whose decoder layers can have a memory."""

import math
from typing import NamedTuple, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect import Concatenation, Fusion, Memory
from recollect.state import register_state
from recollect_nlp.models.transformer_layers import (
    MASKED,
    DecoderLayer,
    EncoderLayer,
    IntegrationFactory,
    LayerCache,
)
from recollect_nlp.models.translation import Translator
from recollect_nlp.types import PAD


@register_state
class TransformerState(NamedTuple):
    """State of a ``TransformerTranslator`` between target pieces.

    Attributes:
        source: Keys and values of the source for each decoder layer, ``(B, S, 2D)``.
        source_mask: ``(B, S)`` bool, false at padding.
        cache: Earlier steps for each decoder layer.
    """

    source: tuple[Tensor, ...]
    source_mask: Tensor
    cache: tuple[LayerCache, ...]


@final
class TransformerTranslator(Translator[TransformerState]):
    """A pre-norm encoder–decoder Transformer with shared embeddings.

    Vaswani et al. 2017 (arXiv:1706.03762), pre-norm as in Xiong et al. 2020 (arXiv:2002.04745). The default
    sizes are those of Transformer-Tiny for Multi30k (Wu et al. 2021, arXiv:2105.14462). Source, target and
    output share their embeddings; positions are sinusoidal.

    Args:
        vocabulary_size: Number of pieces.
        model_size: Width D, divisible by ``heads`` and by two.
        hidden_size: Hidden width of the feed-forward parts.
        encoder_layers: Number of encoder layers.
        decoder_layers: Number of decoder layers.
        heads: Number of attention heads.
        dropout: Dropout rate of embeddings and of the residual branches.

    Raises:
        ValueError: If the sizes are inconsistent.

    Example:
        >>> model = TransformerTranslator(20, model_size=8, hidden_size=16, heads=2)
        >>> model(torch.tensor([[5, 6, 3], [7, 3, 0]]), torch.tensor([[2, 9], [2, 4]])).shape
        torch.Size([2, 2, 20])
    """

    def __init__(
        self,
        vocabulary_size: int,
        model_size: int = 128,
        hidden_size: int = 256,
        encoder_layers: int = 4,
        decoder_layers: int = 4,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(vocabulary_size, model_size)
        if model_size < 1 or model_size % heads or model_size % 2:
            raise ValueError(f"model_size must be even and divisible by heads ({heads}), got {model_size}")
        self.embedding = nn.Embedding(vocabulary_size, model_size, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=model_size**-0.5)
        sizes = (model_size, hidden_size, heads, dropout)
        self.encoder = nn.ModuleList(EncoderLayer(*sizes) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(*sizes) for _ in range(decoder_layers))
        self.encoder_norm = nn.LayerNorm(model_size)
        self.decoder_norm = nn.LayerNorm(model_size)
        self.dropout = nn.Dropout(dropout)

    def add_memory(
        self, memory: Memory, integration: IntegrationFactory = Concatenation, at: int = -1
    ) -> None:
        """Add a memory of the earlier pieces to the feed-forward part of a decoder layer.

        With ``write_on_forward=True`` the memory writes at every step.

        Args:
            memory: The memory, of width D.
            integration: ``Concatenation``, ``Parallel``, or ``Fusion`` with ``stepwise=True``, so that
                training and beam search read the same entries.
            at: Index of the decoder layer; negative indices count from the end.

        Raises:
            ValueError: If the layer does not exist, or ``Fusion`` is not stepwise.
        """
        if not -len(self.decoder) <= at < len(self.decoder):
            raise ValueError(f"there is no decoder layer {at}: there are {len(self.decoder)}")
        layer = cast(DecoderLayer, self.decoder[at])
        layer.add_memory(memory, integration)
        joined = layer.feed_forward
        if isinstance(joined, Fusion) and not joined.stepwise:
            raise ValueError("Fusion needs stepwise=True: decoding is step by step, training is not")

    def _embed(self, pieces: Tensor, start: int) -> Tensor:
        x = self.embedding(pieces) * math.sqrt(self.model_size)
        embedded: Tensor = self.dropout(x + sinusoids(start, pieces.shape[1], self.model_size, x))
        return embedded

    def encode(self, source: Tensor) -> TransformerState:
        """Encode the source as keys and values for each decoder layer, with an empty cache."""
        mask = source != PAD
        x, bias = self._embed(source, 0), source_bias(mask)
        for layer in self.encoder:
            x = layer(x, bias.to(x.dtype))
        x = self.encoder_norm(x)
        layers = [cast(DecoderLayer, layer) for layer in self.decoder]
        return TransformerState(
            source=tuple(layer.project_source(x) for layer in layers),
            source_mask=mask,
            cache=tuple(layer.initial_cache(x) for layer in layers),
        )

    def decode(self, state: TransformerState, target: Tensor) -> tuple[Tensor, TransformerState]:
        """See ``Translator.decode``."""
        x, cache, _ = self._decode(state, target)
        return x, state._replace(cache=cache)

    def _decode(
        self, state: TransformerState, target: Tensor
    ) -> tuple[Tensor, tuple[LayerCache, ...], Tensor]:
        x = self._embed(target, state.cache[0].keys.shape[1])
        bias = source_bias(state.source_mask).to(x.dtype)
        caches: list[LayerCache] = []
        weights = x.new_zeros(())
        for layer, cache, source in zip(self.decoder, state.cache, state.source, strict=True):
            x, cache, weights = layer(x, cache, source, bias)
            caches.append(cache)
        return self.decoder_norm(x), tuple(caches), weights

    def logits(self, decoded: Tensor) -> Tensor:
        """See ``Translator.logits``."""
        return F.linear(decoded, self.embedding.weight)

    def alignment(self, source: Tensor, target: Tensor) -> Tensor | None:
        """Return the attention of the last decoder layer to the source, averaged over heads."""
        return self._decode(self.encode(source), target)[2].mean(1)


def source_bias(mask: Tensor) -> Tensor:
    """Return the attention bias ``(B, 1, 1, S)``: ``MASKED`` where ``mask`` ``(B, S)`` is false, else 0."""
    bias = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, MASKED)
    return bias[:, None, None]


def sinusoids(start: int, steps: int, size: int, like: Tensor) -> Tensor:
    """Return sinusoidal encodings ``(steps, size)`` of the positions from ``start`` (Vaswani et al., 3.5)."""
    position = torch.arange(start, start + steps, device=like.device).unsqueeze(1)
    rate = torch.exp(torch.arange(0, size, 2, device=like.device) * (-math.log(10000.0) / size))
    return torch.cat([(position * rate).sin(), (position * rate).cos()], -1).to(like.dtype)
