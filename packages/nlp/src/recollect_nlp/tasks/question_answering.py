"""The task of answering questions about stories."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam
from torchmetrics import MetricCollection

from recollect import Memory, Read, Storage
from recollect.storages import capacity
from recollect.tracing import trace
from recollect.training import ReadHeatmap, Split, Task
from recollect.training.errors import ArgumentError
from recollect_nlp.data.question_data import QuestionData
from recollect_nlp.data.questions import QuestionBatch
from recollect_nlp.data.vocabulary import NO_ANSWER
from recollect_nlp.metrics import ErrorPerTask
from recollect_nlp.models.question_answering import MemoryReader, RecurrentReader

PICTURES = 6
"""How many questions of a batch are drawn."""

PRACTISED = "practised"
"""Where a checkpoint keeps the counts of errors of an epoch."""


@final
class QuestionAnswering(Task[QuestionData]):
    """Questions about a story, each with one answer out of those that occurred in training.

    Args:
        memory: Builds the memory of the story, given the width of sentences; without one, a GRU reads the
            story.
        size: Width of sentences.
        dropout: Of word vectors and before the answer.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.
    """

    def __init__(
        self,
        memory: Callable[[int], Memory] | None = None,
        size: int = 64,
        dropout: float = 0.0,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        self.memory = memory
        self.size = size
        self.dropout = dropout

    def build_model(self, data: QuestionData) -> nn.Module:
        """A reader for the words and answers of the training data."""
        memory = None if self.memory is None else self.memory(self.size)
        if memory is not None:
            fit_slots(data, memory)
        if data.focus:
            self._practised = ErrorPerTask(data.tasks).to(self.device)
        words, answers = len(data.vocabulary), len(data.answers)
        if memory is None:
            return RecurrentReader(words, answers, self.size, self.dropout)
        return MemoryReader(words, answers, memory, self.dropout)

    def build_metrics(self, data: QuestionData) -> MetricCollection:
        """Accuracy and the table of errors by task."""
        return MetricCollection(ErrorPerTask(data.tasks))

    def training_loss(self, batch: QuestionBatch) -> tuple[Tensor, int]:
        """Cross-entropy of the answers."""
        scores = self.model(batch)
        if self.data.focus:
            self._practised.update(scores.detach().argmax(-1), batch.answer, batch.task)
        return F.cross_entropy(scores, batch.answer), len(batch.answer)

    def on_train_epoch_end(self) -> None:
        """Tell the data where the errors were, if it wants to focus on them."""
        if self.data.focus:
            values = self._practised.compute()
            rates = [float(values.get(f"error/{task}", 0.0)) / 100 for task in self.data.tasks]
            self.data.errors = torch.tensor(rates, device="cpu")
            self._practised.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the counts of errors of the epoch under way as well, if the data want to focus on them."""
        super().on_save_checkpoint(checkpoint)
        if self.data.focus:
            checkpoint[PRACTISED] = {"wrong": self._practised.wrong, "asked": self._practised.asked}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting errors where the checkpoint was made."""
        super().on_load_checkpoint(checkpoint)
        if self.data.focus and PRACTISED in checkpoint:
            self._practised.wrong = checkpoint[PRACTISED]["wrong"].to(self.device)
            self._practised.asked = checkpoint[PRACTISED]["asked"].to(self.device)

    def evaluate(self, batch: QuestionBatch, metrics: MetricCollection) -> Tensor:
        """Compare the likeliest answers; one that did not occur in training counts as an error."""
        scores = self.model(batch)
        metrics.update(scores.argmax(-1), batch.answer, batch.task)
        known = batch.answer != NO_ANSWER
        return F.cross_entropy(scores[known], batch.answer[known]) if known.any() else scores.sum() * 0

    def predict(self, batch: QuestionBatch) -> list[dict[str, Any]]:
        """The answer, its probability, and the sentences that were read, each with its weight by hop.

        ``read`` is null without a memory, and where the memory did not keep the sentences apart.
        """
        data = self.data
        probabilities, read = self._answer(batch)
        chances, classes = probabilities.max(-1)
        rows = []
        for b, index in enumerate(batch.index.tolist()):
            question = data.question("predict", index)
            rows.append(
                {
                    "source": question.source,
                    "line": question.line,
                    "question": question.question,
                    "answer": data.answers[int(classes[b])],
                    "probability": round(float(chances[b]), 4),
                    "read": _read_rows(read[b], question.story),
                }
            )
        return rows

    def figures(self, batch: QuestionBatch) -> list[ReadHeatmap]:
        """What each hop read for the first few questions, the supporting sentences marked."""
        if not isinstance(self.model, MemoryReader):
            return []
        batch = first_questions(batch, PICTURES)
        split: Split = "test" if self.trainer.testing else "val"
        probabilities, read = self._answer(batch)
        figures = []
        for b, index in enumerate(batch.index.tolist()):
            question, weights = self.data.question(split, index), read[b]
            if weights is None:
                continue
            answer = self.data.answers[int(probabilities[b].argmax())]
            chance = float(probabilities[b].max())
            figures.append(
                ReadHeatmap(
                    title=f"{question.question} → {answer} ({chance:.0%}); true: {question.answer}",
                    weights=weights,
                    rows=[f"hop {k + 1}" for k in range(len(weights))],
                    columns=question.story,
                    highlighted=question.supporting,
                    across="read",
                    down="sentences of the story",
                )
            )
        return figures

    def _answer(self, batch: QuestionBatch) -> tuple[Tensor, list[Tensor | None]]:
        """Probabilities of the answers, and what was read of each story, where that can be told."""
        if not isinstance(self.model, MemoryReader):
            return self.model(batch).softmax(-1), [None] * len(batch.index)
        with self.model.memory.tracing() as reads, trace(self.model.memory) as traced:
            probabilities = self.model(batch).softmax(-1)
        told = batch.story_mask.sum(1)
        if any(read.weights is None for read in reads):
            return probabilities, [None] * len(told)
        apart = kept_apart(traced.states.values(), told).tolist()
        sizes = enumerate(told.tolist())
        return probabilities, [read_weights(reads, b, size) if apart[b] else None for b, size in sizes]


def fit_slots(data: QuestionData, memory: Memory) -> None:
    """Let ``data`` keep no more sentences of a story than the memory holds.

    Raises:
        ArgumentError: If ``data.slots`` asks for more.
    """
    holds = capacity(memory.storage)
    if holds is None:
        return
    if data.slots is None:
        data.slots = holds
    if data.slots > holds:
        raise ArgumentError(
            f"--data.slots {data.slots} is more than the memory holds: {type(memory.storage).__name__} has "
            f"room for {holds} sentences. Set --data.slots to {holds} at most, or "
            f"--model.memory.init_args.storage.init_args.slots to {data.slots}"
        )


def _read_rows(weights: Tensor | None, story: Sequence[str]) -> list[dict[str, Any]] | None:
    """The sentences with the weight that each hop gave them."""
    if weights is None:
        return None
    by_sentence = weights.T.tolist()
    return [
        {"sentence": sentence, "weights": [round(weight, 4) for weight in by_hop]}
        for sentence, by_hop in zip(story, by_sentence, strict=True)
    ]


def first_questions(batch: QuestionBatch, count: int) -> QuestionBatch:
    """The first ``count`` questions of a batch; the sentences stay."""
    kept = {
        name: getattr(batch, name)[:count] for name in batch._fields if name not in ("sentences", "lengths")
    }
    return batch._replace(**kept)


def kept_apart(states: Iterable[tuple[Storage, Any]], told: Tensor) -> Tensor:
    """Whether as many entries are there as sentences were written, ``told`` ``(B,)``: ``(B,)`` bool.

    Not so where a storage has merged sentences, or dropped some: which entry is which is then not known.
    """
    apart = torch.ones_like(told, dtype=torch.bool)
    for storage, state in states:
        filled = storage.entries(state).filled > 0
        count = filled.sum(-1).reshape(len(told), -1)
        apart &= (count == told.unsqueeze(1)).all(1)
    return apart


def read_weights(reads: Sequence[Read], item: int, sentences: int) -> Tensor:
    """How much each read looked at each sentence of one story, the mean over heads: ``(reads, sentences)``.

    Each sentence has an entry of its own (see ``kept_apart``), and these stand in the order of the sentences.
    """
    rows = []
    for read in reads:
        weights = cast(Tensor, read.weights)[item, ..., 0, :].float()
        if read.slots is not None:
            size = max(int(read.slots.amax()) + 1, sentences)
            spread = weights.new_zeros(*weights.shape[:-1], size)
            weights = spread.scatter_add(-1, read.slots[item, ..., 0, :], weights)
        rows.append(weights.reshape(-1, weights.shape[-1]).mean(0)[:sentences])
    return torch.stack(rows).cpu() if rows else torch.zeros(0, sentences, device="cpu")
