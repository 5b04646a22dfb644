"""Questions about stories as tensors."""

from collections.abc import Sequence
from itertools import chain
from typing import final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect.validation import check_positive
from recollect_nlp.data.babi_format import Question
from recollect_nlp.data.vocabulary import Answers, Vocabulary
from recollect_nlp.types import PAD, QuestionBatch


@final
class QuestionDataset(Dataset[QuestionBatch]):
    """Questions as tensors, encoded once.

    A data loader gets whole batches from ``__getitems__``, so no further collation is needed.

    Args:
        questions: The questions.
        vocabulary: The words of the training questions.
        answers: The answers of the training questions.
        tasks: Names of the tasks of the questions.
        slots: Maximum number of sentences of a story. Longer stories keep their last sentences;
            ``truncated`` is the number of questions about them. No limit by default.

    Raises:
        ValueError: If the task of a question is not in ``tasks``, or ``slots`` is not positive.

    Example:
        >>> item = Question(("Mary moved to the bathroom.",), "Where is Mary?", "bathroom", (0,), 2, "my.txt")
        >>> vocabulary, answers = Vocabulary.of([*item.story, item.question]), Answers.of([item.answer])
        >>> dataset = QuestionDataset([item], vocabulary, answers, tasks=[None])
        >>> batch = dataset.__getitems__([0])
        >>> vocabulary.decode(batch.sentences[batch.question[0]].tolist()), batch.answer.tolist()
        (['where', 'is', 'mary'], [0])
    """

    def __init__(
        self,
        questions: Sequence[Question],
        vocabulary: Vocabulary,
        answers: Answers,
        *,
        tasks: Sequence[str | None],
        slots: int | None = None,
    ) -> None:
        check_positive(slots=slots)
        self.questions = [truncate_story(question, slots) for question in questions]
        self.truncated = sum(
            len(kept.story) < len(q.story) for kept, q in zip(self.questions, questions, strict=True)
        )
        ids: dict[str, int] = {}
        stories = [[ids.setdefault(s, len(ids)) for s in question.story] for question in self.questions]
        self._question_ids = torch.tensor([ids.setdefault(q.question, len(ids)) for q in self.questions])
        self._story_ids = torch.tensor(list(chain.from_iterable(stories)), dtype=torch.long)
        self.story_lengths = torch.tensor([len(story) for story in stories])
        self._story_starts = self.story_lengths.cumsum(0) - self.story_lengths
        self._words, self._word_counts = _pad([vocabulary.encode(text) for text in ids])
        self._answers = torch.tensor([answers.encode(question.answer) for question in self.questions])
        self.tasks = torch.tensor([_task_index(question, tasks) for question in self.questions])

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.questions)

    def __getitem__(self, index: int) -> QuestionBatch:
        """Return the batch of one question."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> QuestionBatch:
        """Return the batch of the questions at ``indices``."""
        rows = torch.tensor(indices)
        lengths = self.story_lengths[rows]
        steps = torch.arange(int(lengths.max()))
        mask = steps < lengths.unsqueeze(1)
        sentences = self._story_ids[(self._story_starts[rows].unsqueeze(1) + steps)[mask]]
        distinct, inverse = torch.unique(
            torch.cat([sentences, self._question_ids[rows]]), return_inverse=True
        )
        story = torch.zeros(mask.shape, dtype=torch.long)
        story[mask] = inverse[: len(sentences)]
        counts = self._word_counts[distinct]
        return QuestionBatch(
            sentences=self._words[distinct, : int(counts.max())],
            lengths=counts,
            story=story,
            story_mask=mask,
            question=inverse[len(sentences) :],
            answer=self._answers[rows],
            task=self.tasks[rows],
            index=rows,
        )


def truncate_story(question: Question, slots: int | None) -> Question:
    """Keep the last ``slots`` sentences of the story of a question.

    Example:
        >>> question = Question(("Mary left.", "John left."), "Who left?", "John", (0, 1), 3, "my.txt")
        >>> truncate_story(question, 1)[:4]
        (('John left.',), 'Who left?', 'John', (0,))
    """
    if slots is None or len(question.story) <= slots:
        return question
    dropped = len(question.story) - slots
    supporting = tuple(index - dropped for index in question.supporting if index >= dropped)
    return question._replace(
        story=question.story[dropped:], supporting=supporting, lines=question.lines[dropped:]
    )


def _pad(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    counts = torch.tensor([len(sentence) for sentence in sentences])
    padded = torch.full((len(sentences), int(counts.max())), PAD)
    padded[torch.arange(padded.shape[1]) < counts.unsqueeze(1)] = torch.tensor(
        list(chain.from_iterable(sentences))
    )
    return padded, counts


def _task_index(question: Question, tasks: Sequence[str | None]) -> int:
    if question.task not in tasks:
        raise ValueError(
            f"{question.source}, line {question.line}: task {question.task!r} is not one of {list(tasks)}"
        )
    return tasks.index(question.task)
