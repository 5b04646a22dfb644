"""The contract of every translator: encode a sentence, then decode step by step."""

from abc import ABC, abstractmethod
from typing import Generic

from torch import Tensor, nn

from recollect import Memory
from recollect.state import S, select_items
from recollect_nlp.models.transformer_layers import Join


class Translator(nn.Module, ABC, Generic[S]):
    """A network that turns sentences of pieces into sentences of pieces.

    ``encode`` gives the state from which ``decode`` goes on, any number of pieces at a time: T pieces at
    once for training, one by one for beam search, with the same result. S in shapes counts source pieces.

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
    def longest_source(self) -> int | None:
        """How many pieces of a source sentence it can read; ``None`` is any number."""
        return None

    @abstractmethod
    def add_memory(self, memory: Memory, integration: Join, at: int) -> None:
        """Give the decoder a memory.

        Args:
            memory: The memory, of width ``model_size``.
            integration: How it joins a layer of the decoder.
            at: Index of that layer, counted as in Python.

        Raises:
            ValueError: If the memory does not fit the decoder.
        """

    @abstractmethod
    def encode(self, source: Tensor) -> S:
        """Read sentences ``(B, S)`` int64, padded; the state before the first target piece."""

    @abstractmethod
    def decode(self, state: S, target: Tensor) -> tuple[Tensor, S]:
        """Go on by T target pieces ``(B, T)``, each seeing only those before it.

        Returns:
            What the next piece is to be told from, ``(B, T, D)`` (see ``logits``), and the state after.
        """

    @abstractmethod
    def logits(self, decoded: Tensor) -> Tensor:
        """Scores of every next piece, ``(…, D)`` → ``(…, vocabulary_size)``."""

    @abstractmethod
    def alignment(self, source: Tensor, target: Tensor) -> Tensor | None:
        """How much of each source piece is read before each target piece is told.

        Args:
            source: ``(B, S)``.
            target: ``(B, T)`` the pieces given to ``decode``.

        Returns:
            Weights ``(B, T, S)``, or ``None`` where the decoder reads no source pieces.
        """

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Scores of every next piece when ``target`` ``(B, T)`` is given: ``(B, T, vocabulary_size)``."""
        return self.logits(self.decode(self.encode(source), target)[0])

    def select(self, state: S, index: Tensor) -> S:
        """Pick batch items ``index`` ``(B',)`` of a state."""
        return select_items(state, index)
