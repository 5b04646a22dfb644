"""Networks that answer questions about a story."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from recollect import Memory
from recollect_nlp.models.sentence_encoder import SentenceEncoder
from recollect_nlp.types import QuestionBatch


@final
class MemoryReader(nn.Module):
    """Writes the sentences of a story to a memory, reads it with the question, and classifies the answer.

    Args:
        vocabulary_size: Number of word ids.
        answers: Number A of answers.
        memory: The memory of the story, as wide as the sentences.
        dropout: Dropout rate of the word embeddings and of the hidden layer before the answer.

    Example:
        >>> from recollect import MemoryNetwork, VectorStorage
        >>> reader = MemoryReader(10, 3, MemoryNetwork(8, VectorStorage(8, 8, slots=4)))
    """

    def __init__(self, vocabulary_size: int, answers: int, memory: Memory, dropout: float = 0.0) -> None:
        super().__init__()
        size = memory.model_size
        self.encoder = SentenceEncoder(vocabulary_size, size, dropout=dropout)
        self.memory = memory
        self.classifier = nn.Sequential(
            nn.Linear(size, size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, answers)
        )

    def forward(self, batch: QuestionBatch) -> Tensor:
        """Return the logits of the answers, ``(B, A)``."""
        sentences = self.encoder(batch.sentences)  # (U, D)
        state = self.memory.initial_state(len(batch.question))
        state = self.memory.write(state, sentences[batch.story], batch.story_mask)
        read = self.memory.read(state, sentences[batch.question].unsqueeze(1))
        logits: Tensor = self.classifier(read.squeeze(1))
        return logits


@final
class RecurrentReader(nn.Module):
    """The baseline without a memory: a GRU over the sentences of the story and the question.

    Args:
        vocabulary_size: Number of word ids.
        answers: Number A of answers.
        size: Width D of the sentences and of the state of the GRU.
        dropout: Dropout rate of the word embeddings and of the hidden layer before the answer.
    """

    def __init__(self, vocabulary_size: int, answers: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = SentenceEncoder(vocabulary_size, size, dropout=dropout)
        self.rnn = nn.GRU(size, size, batch_first=True)
        self.classifier = nn.Sequential(
            nn.Linear(2 * size, size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, answers)
        )

    def forward(self, batch: QuestionBatch) -> Tensor:
        """Return the logits of the answers, ``(B, A)``."""
        sentences = self.encoder(batch.sentences)  # (U, D)
        question = sentences[batch.question]
        # A packed sequence must not be empty, but a story may be: the question is its last step.
        lengths = batch.story_mask.sum(1)
        steps = torch.cat([sentences[batch.story], question.unsqueeze(1)], 1)  # (B, T + 1, D)
        steps[torch.arange(len(lengths), device=lengths.device), lengths] = question
        packed = pack_padded_sequence(steps, (lengths + 1).cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.rnn(packed)
        logits: Tensor = self.classifier(torch.cat([last[0], question], -1))
        return logits
