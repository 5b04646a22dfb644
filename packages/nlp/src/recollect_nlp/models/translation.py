"""The base class of translators: encode a sentence, then decode step by step."""

from abc import ABC, abstractmethod
from typing import Generic

import torch.nn.functional as F
from torch import Tensor, nn

from recollect import Memory
from recollect.state import S, select_items
from recollect_nlp.models.transformer_layers import IntegrationFactory
from recollect_nlp.types import BOS, EOS, PAD


class Translator(nn.Module, ABC, Generic[S]):
    """A network that translates sentences of subword pieces.

    ``encode`` returns a state from which ``decode`` continues by any number of pieces: all T pieces at once
    in training and one at a time in beam search, with the same result. S is the number of source pieces.

    Args:
        vocabulary_size: Number of pieces, shared by both languages.
        model_size: Width D.

    Raises:
        ValueError: If ``vocabulary_size`` is not positive.
    """

    def __init__(self, vocabulary_size: int, model_size: int) -> None:
        super().__init__()
        if vocabulary_size < 1:
            raise ValueError(f"vocabulary_size must be at least 1, got {vocabulary_size}")
        self.vocabulary_size = vocabulary_size
        self.model_size = model_size

    @property
    def max_source_length(self) -> int | None:
        """Maximum number of pieces of a source sentence; ``None`` if there is no limit."""
        return None

    @abstractmethod
    def add_memory(self, memory: Memory, integration: IntegrationFactory, at: int) -> None:
        """Add a memory to the decoder.

        Args:
            memory: The memory, of width ``model_size``.
            integration: Integration of the memory with a layer of the decoder.
            at: Index of that layer; negative indices count from the end.

        Raises:
            ValueError: If the memory does not fit the decoder.
        """

    @abstractmethod
    def encode(self, source: Tensor) -> S:
        """Encode padded sentences ``(B, S)`` int64; return the state before the first target piece."""

    @abstractmethod
    def decode(self, state: S, target: Tensor) -> tuple[Tensor, S]:
        """Continue by T target pieces ``(B, T)``, each of which depends only on the earlier ones.

        Returns:
            Features of the next pieces ``(B, T, D)``, the input of ``logits``, and the next state.
        """

    @abstractmethod
    def logits(self, decoded: Tensor) -> Tensor:
        """Return the logits of the next pieces, ``(…, D)`` → ``(…, vocabulary_size)``."""

    @abstractmethod
    def alignment(self, source: Tensor, target: Tensor) -> Tensor | None:
        """Return the attention of each decoding step to the source pieces.

        Args:
            source: ``(B, S)``.
            target: ``(B, T)``, the input of ``decode``.

        Returns:
            Weights ``(B, T, S)``, or ``None`` if the decoder does not attend to source pieces.
        """

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits of the next pieces given ``target`` ``(B, T)``: ``(B, T, vocabulary_size)``."""
        return self.logits(self.decode(self.encode(source), target)[0])

    def select(self, state: S, index: Tensor) -> S:
        """Select the batch items ``index`` ``(B',)`` of a state."""
        return select_items(state, index)


def shift_right(target: Tensor) -> Tensor:
    """Return the decoder input for ``target`` ``(B, T)``: ``BOS``, then the target without its last piece.

    Example:
        >>> import torch
        >>> shift_right(torch.tensor([[7, 8, 3]]))
        tensor([[2, 7, 8]])
    """
    return F.pad(target, (1, 0), value=BOS)[:, :-1]


def until_eos(pieces: Tensor) -> list[int]:
    """Return the pieces ``(T,)`` up to and including ``EOS``, without padding.

    Example:
        >>> import torch
        >>> until_eos(torch.tensor([7, 8, 3, 0]))
        [7, 8, 3]
    """
    unpadded = [piece for piece in pieces.tolist() if piece != PAD]
    return unpadded[: unpadded.index(EOS) + 1] if EOS in unpadded else unpadded
