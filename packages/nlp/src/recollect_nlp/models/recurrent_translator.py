"""A recurrent translator whose decoder attends to the encoder states in a memory."""

import math
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recollect import Concatenation, Memory, Seq2SeqMemory, Seq2SeqState
from recollect.state import register_state
from recollect.storages import capacity
from recollect_nlp.models.transformer_layers import IntegrationFactory
from recollect_nlp.models.translation import Translator
from recollect_nlp.types import PAD


@register_state
class RecurrentState(NamedTuple):
    """State of a ``RecurrentTranslator`` between target pieces.

    Attributes:
        decoder: State of the memory; without a memory ``(hidden,)``, ``(B, D)``.
    """

    decoder: Seq2SeqState | tuple[Tensor]


@final
class RecurrentTranslator(Translator[RecurrentState]):
    """A bidirectional GRU encoder and a ``Seq2SeqMemory`` as decoder (Bahdanau et al. 2015, arXiv:1409.0473).

    The encoder states are written to the memory, which the decoder reads at every step; ``add_memory`` sets
    it. The initial state of the decoder is h_0 = tanh(W s), where s are the last encoder states of both
    directions. Source, target and output share their embeddings.

    Without a memory, the decoder is a GRU that only knows s of the source (Sutskever et al. 2014,
    arXiv:1409.3215): the baseline.

    Args:
        vocabulary_size: Number of pieces.
        model_size: Width D, even.
        layers: Number of encoder layers.
        dropout: Dropout rate of embeddings, encoder states and decoder outputs.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import Seq2SeqMemory, VectorStorage
        >>> memory = Seq2SeqMemory(8, VectorStorage(8, 8, slots=16, similarity="dot"))
        >>> model = RecurrentTranslator(20, model_size=8)
        >>> model.add_memory(memory)
        >>> model(torch.tensor([[5, 6, 3], [7, 3, 0]]), torch.tensor([[2, 9], [2, 4]])).shape
        torch.Size([2, 2, 20])
    """

    def __init__(
        self,
        vocabulary_size: int,
        model_size: int = 256,
        layers: int = 1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(vocabulary_size, model_size)
        if model_size < 2 or model_size % 2:
            raise ValueError(f"model_size must be even and positive, got {model_size}")
        self.embedding = nn.Embedding(vocabulary_size, model_size, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=model_size**-0.5)
        self.encoder = nn.GRU(model_size, model_size // 2, layers, batch_first=True, bidirectional=True)
        self.hidden_proj = nn.Linear(model_size, model_size)
        self.memory: Seq2SeqMemory | None = None
        self.decoder: nn.GRU | None = nn.GRU(model_size, model_size, batch_first=True)
        self.out_proj = nn.Linear(2 * model_size, model_size)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.dropout = nn.Dropout(dropout)

    def add_memory(
        self, memory: Memory, integration: IntegrationFactory = Concatenation, at: int = -1
    ) -> None:
        """Replace the GRU decoder by a ``Seq2SeqMemory``.

        Args:
            memory: The memory, of width D.
            integration: Not used: the memory is the decoder.
            at: Not used.

        Raises:
            ValueError: If the memory is of another class or width.
        """
        if not isinstance(memory, Seq2SeqMemory):
            raise ValueError(f"the decoder must be a Seq2SeqMemory, not a {type(memory).__name__}")
        if memory.model_size != self.model_size:
            raise ValueError(f"memory has width {memory.model_size}, the model has {self.model_size}")
        self.memory, self.decoder = memory, None

    def _embed(self, pieces: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.embedding(pieces) * math.sqrt(self.model_size))
        return embedded

    @property
    def max_source_length(self) -> int | None:
        """Capacity of the memory; no limit without one."""
        return None if self.memory is None else capacity(self.memory.storage)

    def encode(self, source: Tensor) -> RecurrentState:
        """Encode the source, write the encoder states to the memory; see ``Translator.encode``.

        Raises:
            ValueError: If a sentence has more pieces than the storage of the memory can hold.
        """
        mask = source != PAD
        packed = pack_padded_sequence(
            self._embed(source), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        states, last = self.encoder(packed)
        # (2 directions, B, D/2) of the last layer → (B, D)
        hidden = self.hidden_proj(last[-2:].transpose(0, 1).flatten(1)).tanh()
        if self.memory is None:
            return RecurrentState((hidden,))
        if self.max_source_length is not None and source.shape[1] > self.max_source_length:
            raise ValueError(
                f"a sentence has {source.shape[1]} pieces, but the memory holds {self.max_source_length}: "
                "give its storage more slots"
            )
        padded, _ = pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])
        state = self.memory.initial_state(len(source), device=source.device, dtype=padded.dtype)
        return RecurrentState(self.memory.write(state._replace(hidden=hidden), self.dropout(padded), mask))

    def decode(self, state: RecurrentState, target: Tensor) -> tuple[Tensor, RecurrentState]:
        """See ``Translator.decode``."""
        embedded = self._embed(target)
        if self.memory is None:
            assert self.decoder is not None
            output, hidden = self.decoder(embedded, state.decoder[0].unsqueeze(0))
            return self._project(output, embedded), RecurrentState((hidden[0],))
        assert isinstance(state.decoder, Seq2SeqState)
        output, next_state = self.memory(embedded, state.decoder)
        return self._project(output, embedded), RecurrentState(next_state)

    def _project(self, output: Tensor, embedded: Tensor) -> Tensor:
        features: Tensor = self.dropout(self.out_proj(torch.cat([output, embedded], -1)).tanh())
        return features

    def logits(self, decoded: Tensor) -> Tensor:
        """See ``Translator.logits``."""
        return F.linear(decoded, self.embedding.weight, self.bias)

    def alignment(self, source: Tensor, target: Tensor) -> Tensor | None:
        """Return the read weights of the memory, whose entries are the source pieces in order."""
        if self.memory is None:
            return None
        state = self.encode(source)
        with self.memory.tracing() as reads:
            self.decode(state, target)
        weights = target.new_zeros(*target.shape, source.shape[1], dtype=torch.float32)
        for t, read in enumerate(reads):
            if read.weights is None:
                return None
            read_weights = read.weights[:, 0].float()
            slots = torch.arange(read_weights.shape[-1], device=read_weights.device).expand_as(read_weights)
            if read.slots is not None:
                slots = read.slots[:, 0]
            read_weights = read_weights * (slots < source.shape[1])
            weights[:, t].scatter_add_(1, slots.clamp(max=source.shape[1] - 1), read_weights)
        return weights
