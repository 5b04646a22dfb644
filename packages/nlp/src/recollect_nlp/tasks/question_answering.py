"""Question answering about stories."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam
from torchmetrics import MetricCollection

from recollect import Memory
from recollect.storages import capacity
from recollect.tracing import trace
from recollect.training import ReadHeatmap, Split, Task
from recollect.training.errors import ArgumentError
from recollect_nlp.data.question_answering import QuestionData
from recollect_nlp.figures.question_answering import MAX_FIGURES, read_figures
from recollect_nlp.metrics.question_answering import ErrorPerTask
from recollect_nlp.models.attribution import has_entry_per_sentence, sentence_weights
from recollect_nlp.models.question_answering import MemoryReader, RecurrentReader
from recollect_nlp.types import NO_ANSWER, QuestionBatch

TRAINING_ERRORS = "training_errors"
"""Key of the error counts of the current epoch in checkpoints."""


@final
class QuestionAnswering(Task[QuestionData]):
    """Question answering about stories, as classification over the answers of the training set.

    Args:
        memory: Builds the memory of the story, given the width of sentences. Without a memory, a GRU reads
            the story.
        size: Width of sentences.
        dropout: Dropout rate of the word embeddings and of the hidden layer before the answer.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.
    """

    default_optimizer = Adam

    def __init__(
        self,
        memory: Callable[[int], Memory] | None = None,
        size: int = 64,
        dropout: float = 0.0,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        self.memory = memory
        self.size = size
        self.dropout = dropout

    def build_model(self, data: QuestionData) -> nn.Module:
        """Build a reader for the words and answers of the training data."""
        memory = None if self.memory is None else self.memory(self.size)
        if memory is not None:
            limit_slots(data, memory)
        if data.error_sampling:
            self._training_errors = ErrorPerTask(data.tasks).to(self.device)
        words, answers = len(data.vocabulary), len(data.answers)
        if memory is None:
            return RecurrentReader(words, answers, self.size, self.dropout)
        return MemoryReader(words, answers, memory, self.dropout)

    def build_metrics(self, data: QuestionData) -> MetricCollection:
        """Accuracy and errors by task."""
        return MetricCollection(ErrorPerTask(data.tasks))

    def training_loss(self, batch: QuestionBatch) -> tuple[Tensor, int]:
        """Return the cross-entropy of the answers and the number of questions."""
        logits = self.model(batch)
        if self.data.error_sampling:
            self._training_errors.update(logits.detach().argmax(-1), batch.answer, batch.task)
        return F.cross_entropy(logits, batch.answer), len(batch.answer)

    def on_train_epoch_end(self) -> None:
        """Pass the error rates of the epoch to the data for error sampling."""
        if self.data.error_sampling:
            values = self._training_errors.compute()
            rates = [float(values.get(f"error/{task}", 0.0)) / 100 for task in self.data.tasks]
            self.data.error_rates = torch.tensor(rates, device="cpu")
            self._training_errors.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the error counts of the current epoch for error sampling."""
        super().on_save_checkpoint(checkpoint)
        if self.data.error_sampling:
            checkpoint[TRAINING_ERRORS] = {
                "wrong": self._training_errors.wrong,
                "total": self._training_errors.total,
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the error counts of the current epoch."""
        super().on_load_checkpoint(checkpoint)
        if self.data.error_sampling and TRAINING_ERRORS in checkpoint:
            self._training_errors.wrong = checkpoint[TRAINING_ERRORS]["wrong"].to(self.device)
            self._training_errors.total = checkpoint[TRAINING_ERRORS]["total"].to(self.device)

    def evaluate(self, batch: QuestionBatch, metrics: MetricCollection) -> Tensor:
        """Update the metrics; answers that did not occur in training count as errors and have no loss."""
        logits = self.model(batch)
        metrics.update(logits.argmax(-1), batch.answer, batch.task)
        known = batch.answer != NO_ANSWER
        return F.cross_entropy(logits[known], batch.answer[known]) if known.any() else logits.sum() * 0

    def predict(self, batch: QuestionBatch) -> list[dict[str, Any]]:
        """Return answers, their probabilities, and the weight of each sentence in each hop.

        ``read`` is null without a memory, and if the memory has merged or evicted sentences.
        """
        data = self.data
        probabilities, reads = self._answer(batch)
        highest, classes = probabilities.max(-1)
        rows = []
        for b, index in enumerate(batch.index.tolist()):
            question = data.question("predict", index)
            rows.append(
                {
                    "source": question.source,
                    "line": question.line,
                    "question": question.question,
                    "answer": data.answers[int(classes[b])],
                    "probability": round(float(highest[b]), 4),
                    "read": _weights_by_sentence(reads[b], question.story),
                }
            )
        return rows

    def figures(self, batch: QuestionBatch) -> list[ReadHeatmap]:
        """Reads of each hop for the first questions, with the supporting sentences marked."""
        if not isinstance(self.model, MemoryReader):
            return []
        batch = first_questions(batch, MAX_FIGURES)
        split: Split = "test" if self.trainer.testing else "val"
        probabilities, reads = self._answer(batch)
        highest, classes = probabilities.max(-1)
        questions = [self.data.question(split, index) for index in batch.index.tolist()]
        answers = [self.data.answers[answer] for answer in classes.tolist()]
        return read_figures(questions, answers, highest.tolist(), reads)

    def _answer(self, batch: QuestionBatch) -> tuple[Tensor, list[Tensor | None]]:
        """Return the probabilities of the answers, and the sentence weights of each story if known."""
        if not isinstance(self.model, MemoryReader):
            return self.model(batch).softmax(-1), [None] * len(batch.index)
        with self.model.memory.tracing() as reads, trace(self.model.memory) as traced:
            probabilities = self.model(batch).softmax(-1)
        lengths = batch.story_mask.sum(1)
        if any(read.weights is None for read in reads):
            return probabilities, [None] * len(lengths)
        attributable = has_entry_per_sentence(traced.states.values(), lengths).tolist()
        return probabilities, [
            sentence_weights(reads, item, length) if attributable[item] else None
            for item, length in enumerate(lengths.tolist())
        ]


def limit_slots(data: QuestionData, memory: Memory) -> None:
    """Limit the stories of ``data`` to the capacity of the memory.

    Raises:
        ArgumentError: If ``data.slots`` exceeds it.
    """
    limit = capacity(memory.storage)
    if limit is None:
        return
    if data.slots is None:
        data.slots = limit
    if data.slots > limit:
        raise ArgumentError(
            f"--data.slots {data.slots} exceeds the capacity of the memory: {type(memory.storage).__name__} "
            f"has {limit} slots. Set --data.slots to {limit} at most, or "
            f"--model.memory.init_args.storage.init_args.slots to {data.slots}"
        )


def _weights_by_sentence(weights: Tensor | None, story: Sequence[str]) -> list[dict[str, Any]] | None:
    """Return the sentences of a story with their weight in each hop."""
    if weights is None:
        return None
    by_sentence = weights.T.tolist()
    return [
        {"sentence": sentence, "weights": [round(weight, 4) for weight in by_hop]}
        for sentence, by_hop in zip(story, by_sentence, strict=True)
    ]


def first_questions(batch: QuestionBatch, count: int) -> QuestionBatch:
    """Return the first ``count`` questions of a batch, with all its sentences."""
    kept = {
        name: getattr(batch, name)[:count] for name in batch._fields if name not in ("sentences", "lengths")
    }
    return batch._replace(**kept)
