"""A small Transformer that translates, and whose decoder layers can carry a memory."""

import math
from typing import NamedTuple, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect import Concatenation, Fusion, Memory
from recollect.state import register_state
from recollect_nlp.data.subwords import PAD
from recollect_nlp.models.transformer_layers import LOWEST, DecoderLayer, EncoderLayer, Join, Past
from recollect_nlp.models.translator import Translator


@register_state
class TransformerState(NamedTuple):
    """State of a ``TransformerTranslator`` between two target pieces.

    Attributes:
        source: For each decoder layer, keys and values of the source, ``(B, S, 2D)``.
        source_mask: ``(B, S)`` bool, false at padding.
        past: For each decoder layer, what came before.
    """

    source: tuple[Tensor, ...]
    source_mask: Tensor
    past: tuple[Past, ...]


@final
class TransformerTranslator(Translator[TransformerState]):
    """An encoder–decoder Transformer with normalisation before each part and one matrix of embeddings.

    Vaswani et al. 2017 (arXiv:1706.03762), pre-norm as in Xiong et al. 2020 (arXiv:2002.04745); the
    default sizes are the Transformer-Tiny of Wu et al. 2021 (arXiv:2105.14462) for Multi30k. Source,
    target and output share their embeddings; positions are sinusoids.

    Args:
        vocabulary_size: Number of pieces.
        model_size: Width D, divisible by ``heads`` and by two.
        hidden_size: Width of the feed-forward parts.
        encoder_layers: Number of encoder layers.
        decoder_layers: Number of decoder layers.
        heads: Number of attention heads.
        dropout: Of embeddings and of what each part of a layer adds.

    Raises:
        ValueError: If the sizes do not fit together.

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

    def add_memory(self, memory: Memory, integration: Join = Concatenation, at: int = -1) -> None:
        """Give the feed-forward part of a decoder layer a memory of the pieces so far.

        With ``write_on_forward=True`` the memory writes at every step.

        Args:
            memory: The memory, of width D.
            integration: ``Concatenation``, ``Parallel``, or ``Fusion`` with ``stepwise=True``, without which
                training would see another past than beam search.
            at: Index of the decoder layer, counted as in Python.

        Raises:
            ValueError: If there is no such layer, or ``Fusion`` goes by segments.
        """
        if not -len(self.decoder) <= at < len(self.decoder):
            raise ValueError(f"there is no decoder layer {at}: there are {len(self.decoder)}")
        layer = cast(DecoderLayer, self.decoder[at])
        layer.carry(memory, integration)
        joined = layer.feed_forward
        if isinstance(joined, Fusion) and not joined.stepwise:
            raise ValueError("Fusion needs stepwise=True here: decoding goes step by step, training does not")

    def _embed(self, pieces: Tensor, start: int) -> Tensor:
        x = self.embedding(pieces) * math.sqrt(self.model_size)
        embedded: Tensor = self.dropout(x + sinusoids(start, pieces.shape[1], self.model_size, x))
        return embedded

    def encode(self, source: Tensor) -> TransformerState:
        """The encoded source, as keys and values for each decoder layer, and an empty past."""
        mask = source != PAD
        x, bias = self._embed(source, 0), source_bias(mask)
        for layer in self.encoder:
            x = layer(x, bias.to(x.dtype))
        x = self.encoder_norm(x)
        layers = [cast(DecoderLayer, layer) for layer in self.decoder]
        return TransformerState(
            source=tuple(layer.read_source(x) for layer in layers),
            source_mask=mask,
            past=tuple(layer.initial_past(x) for layer in layers),
        )

    def decode(self, state: TransformerState, target: Tensor) -> tuple[Tensor, TransformerState]:
        """Go on by T target pieces; see ``Translator.decode``."""
        x, past, _ = self._decode(state, target)
        return x, state._replace(past=past)

    def _decode(self, state: TransformerState, target: Tensor) -> tuple[Tensor, tuple[Past, ...], Tensor]:
        x = self._embed(target, state.past[0].keys.shape[1])
        bias = source_bias(state.source_mask).to(x.dtype)
        after: list[Past] = []
        weights = x.new_zeros(())
        for layer, past, source in zip(self.decoder, state.past, state.source, strict=True):
            x, past, weights = layer(x, past, source, bias)
            after.append(past)
        return self.decoder_norm(x), tuple(after), weights

    def logits(self, decoded: Tensor) -> Tensor:
        """Scores of every next piece; see ``Translator.logits``."""
        return F.linear(decoded, self.embedding.weight)

    def alignment(self, source: Tensor, target: Tensor) -> Tensor | None:
        """The last decoder layer's attention to the source, the mean of its heads."""
        return self._decode(self.encode(source), target)[2].mean(1)


def source_bias(mask: Tensor) -> Tensor:
    """Very low where ``mask`` ``(B, S)`` is false, else zero: ``(B, 1, 1, S)``."""
    bias = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, LOWEST)
    return bias[:, None, None]


def sinusoids(start: int, steps: int, size: int, like: Tensor) -> Tensor:
    """Positions from ``start`` on as sines and cosines, ``(steps, size)`` (Vaswani et al., 3.5)."""
    position = torch.arange(start, start + steps, device=like.device).unsqueeze(1)
    rate = torch.exp(torch.arange(0, size, 2, device=like.device) * (-math.log(10000.0) / size))
    return torch.cat([(position * rate).sin(), (position * rate).cos()], -1).to(like.dtype)
