"""Answering questions about a story, with a memory and without."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from recollect import Memory
from recollect_nlp.data.questions import QuestionBatch
from recollect_nlp.models.sentence_encoder import SentenceEncoder


@final
class MemoryReader(nn.Module):
    """Writes the sentences of a story to a memory, reads it with the question, and picks an answer.

    Args:
        vocabulary_size: Number of word ids.
        answers: Number A of answers.
        memory: What remembers the story; its ``model_size`` is the width of sentences.
        dropout: Of word vectors and of what the memory says.

    Example:
        >>> from recollect import MemoryNetwork, VectorStorage
        >>> reader = MemoryReader(10, 3, MemoryNetwork(8, VectorStorage(8, 8, slots=4)))
    """

    def __init__(self, vocabulary_size: int, answers: int, memory: Memory, dropout: float = 0.0) -> None:
        super().__init__()
        size = memory.model_size
        self.encoder = SentenceEncoder(vocabulary_size, size, dropout=dropout)
        self.memory = memory
        self.answer = nn.Sequential(
            nn.Linear(size, size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, answers)
        )

    def forward(self, batch: QuestionBatch) -> Tensor:
        """Scores of the answers, ``(B, A)``."""
        sentences = self.encoder(batch.sentences)
        state = self.memory.initial_state(len(batch.question))
        state = self.memory.write(state, sentences[batch.story], batch.story_mask)
        read = self.memory.read(state, sentences[batch.question].unsqueeze(1))
        scores: Tensor = self.answer(read.squeeze(1))
        return scores


@final
class RecurrentReader(nn.Module):
    """The same without a memory: a GRU takes the sentences one after the other, and then the question.

    Args:
        vocabulary_size: Number of word ids.
        answers: Number A of answers.
        size: Width D of sentences and of the GRU's state.
        dropout: Of word vectors and of the GRU's state.
    """

    def __init__(self, vocabulary_size: int, answers: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = SentenceEncoder(vocabulary_size, size, dropout=dropout)
        self.story = nn.GRU(size, size, batch_first=True)
        self.answer = nn.Sequential(
            nn.Linear(2 * size, size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, answers)
        )

    def forward(self, batch: QuestionBatch) -> Tensor:
        """Scores of the answers, ``(B, A)``."""
        sentences = self.encoder(batch.sentences)
        question = sentences[batch.question]
        # A packed sequence may not be empty, but a story may: the question is the last step of each.
        lengths = batch.story_mask.sum(1)
        steps = torch.cat([sentences[batch.story], question.unsqueeze(1)], 1)
        steps[torch.arange(len(lengths), device=lengths.device), lengths] = question
        packed = pack_padded_sequence(steps, (lengths + 1).cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.story(packed)
        scores: Tensor = self.answer(torch.cat([last[0], question], -1))
        return scores
