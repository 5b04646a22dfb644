"""A recurrent translator whose decoder reads the encoder's states from a memory."""

import math
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recollect import Concatenation, Memory, Seq2SeqMemory, Seq2SeqState
from recollect.state import register_state
from recollect.storages import capacity
from recollect_nlp.data.subwords import PAD
from recollect_nlp.models.transformer_layers import Join
from recollect_nlp.models.translator import Translator


@register_state
class RecurrentState(NamedTuple):
    """State of a ``RecurrentTranslator`` between two target pieces.

    Attributes:
        decoder: The memory's state; without a memory ``(hidden,)``, ``(B, D)``.
    """

    decoder: Seq2SeqState | tuple[Tensor]


@final
class RecurrentTranslator(Translator[RecurrentState]):
    """A bidirectional GRU encoder and a ``Seq2SeqMemory`` as decoder (Bahdanau et al. 2015, arXiv:1409.0473).

    The encoder's states are written to the memory, which the decoder reads at every step; ``add_memory`` sets
    it. The decoder begins from h_0 = tanh(W s) with s the encoder's last states of both directions. The next
    piece is predicted from the decoder's output y through the embeddings of the pieces, which source, target
    and output share.

    Without a memory the decoder is a plain GRU that knows of the source only what s says (Sutskever et al.
    2014, arXiv:1409.3215): the baseline that shows what the memory brings.

    Args:
        vocabulary_size: Number of pieces.
        model_size: Width D, even.
        layers: Layers of the encoder.
        dropout: Applied to embeddings, encoder states and what the decoder made.

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
        self.summary = nn.Linear(model_size, model_size)
        self.memory: Seq2SeqMemory | None = None
        self.decoder: nn.GRU | None = nn.GRU(model_size, model_size, batch_first=True)
        self.tell = nn.Linear(2 * model_size, model_size)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.dropout = nn.Dropout(dropout)

    def add_memory(self, memory: Memory, integration: Join = Concatenation, at: int = -1) -> None:
        """Make a ``Seq2SeqMemory`` the decoder, in place of the plain GRU.

        Args:
            memory: The memory, of width D.
            integration: Unused: the memory is the decoder.
            at: Unused.

        Raises:
            ValueError: If it is another memory, or of another width.
        """
        if not isinstance(memory, Seq2SeqMemory):
            raise ValueError(f"the decoder can be a Seq2SeqMemory, not a {type(memory).__name__}")
        if memory.model_size != self.model_size:
            raise ValueError(f"memory has width {memory.model_size}, the model has {self.model_size}")
        self.memory, self.decoder = memory, None

    def _embed(self, pieces: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.embedding(pieces) * math.sqrt(self.model_size))
        return embedded

    @property
    def longest_source(self) -> int | None:
        """As many as the memory holds; any number without one."""
        return None if self.memory is None else capacity(self.memory.storage)

    def encode(self, source: Tensor) -> RecurrentState:
        """The decoder's first state, with the encoder's states in its memory.

        Raises:
            ValueError: If a sentence has more pieces than the memory's storage holds.
        """
        mask = source != PAD
        packed = pack_padded_sequence(
            self._embed(source), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        states, last = self.encoder(packed)
        # (2 directions, B, D/2) of the last layer → (B, D)
        hidden = self.summary(last[-2:].transpose(0, 1).flatten(1)).tanh()
        if self.memory is None:
            return RecurrentState((hidden,))
        if self.longest_source is not None and source.shape[1] > self.longest_source:
            raise ValueError(
                f"a sentence has {source.shape[1]} pieces, but the memory holds {self.longest_source}: "
                "give its storage more slots"
            )
        padded, _ = pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])
        state = self.memory.initial_state(len(source), device=source.device, dtype=padded.dtype)
        return RecurrentState(self.memory.write(state._replace(hidden=hidden), self.dropout(padded), mask))

    def decode(self, state: RecurrentState, target: Tensor) -> tuple[Tensor, RecurrentState]:
        """Go on by T target pieces; see ``Translator.decode``."""
        embedded = self._embed(target)
        if self.memory is None:
            assert self.decoder is not None
            output, hidden = self.decoder(embedded, state.decoder[0].unsqueeze(0))
            return self._tell(output, embedded), RecurrentState((hidden[0],))
        assert isinstance(state.decoder, Seq2SeqState)
        output, after = self.memory(embedded, state.decoder)
        return self._tell(output, embedded), RecurrentState(after)

    def _tell(self, output: Tensor, embedded: Tensor) -> Tensor:
        told: Tensor = self.dropout(self.tell(torch.cat([output, embedded], -1)).tanh())
        return told

    def logits(self, decoded: Tensor) -> Tensor:
        """Scores of every next piece; see ``Translator.logits``."""
        return F.linear(decoded, self.embedding.weight, self.bias)

    def alignment(self, source: Tensor, target: Tensor) -> Tensor | None:
        """What the memory's reads weighed; entries are the source pieces in order."""
        if self.memory is None:
            return None
        state = self.encode(source)
        with self.memory.tracing() as reads:
            self.decode(state, target)
        weights = target.new_zeros(*target.shape, source.shape[1], dtype=torch.float32)
        for t, read in enumerate(reads):
            if read.weights is None:
                return None
            found = read.weights[:, 0].float()
            slots = torch.arange(found.shape[-1], device=found.device).expand_as(found)
            if read.slots is not None:
                slots = read.slots[:, 0]
            slots, found = slots.clamp(max=source.shape[1] - 1), found * (slots < source.shape[1])
            weights[:, t].scatter_add_(1, slots, found)
        return weights
