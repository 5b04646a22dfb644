"""Questions about stories as tensors, batch by batch."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect_nlp.data.babi_format import Question
from recollect_nlp.data.vocabulary import PADDING, Answers, Vocabulary


class QuestionBatch(NamedTuple):
    """B questions about stories of up to T sentences, each of up to L words.

    Many questions share sentences, so each distinct one of the batch stands once in ``sentences``, where it
    can be encoded once; U counts them. Stories run from the oldest sentence to the latest, then padding.

    Attributes:
        sentences: ``(U, L)`` int64 word ids of the distinct sentences and questions, padded with 0.
        lengths: ``(U,)`` int64, how many words each has, at least one.
        story: ``(B, T)`` int64, the place in ``sentences`` of each sentence of a story; 0 where padded.
        story_mask: ``(B, T)`` bool, true where ``story`` holds a sentence.
        question: ``(B,)`` int64, the place in ``sentences`` of each question.
        answer: ``(B,)`` int64 class, −1 where it is missing or did not occur in training.
        task: ``(B,)`` int64, the place of the question's task among the data's tasks.
        index: ``(B,)`` int64, the place of the question in its dataset.
    """

    sentences: Tensor
    lengths: Tensor
    story: Tensor
    story_mask: Tensor
    question: Tensor
    answer: Tensor
    task: Tensor
    index: Tensor  # type: ignore[assignment]  # shadows tuple.index, which nothing here needs


@final
class QuestionDataset(Dataset[QuestionBatch]):
    """Questions in the form of tensors, from which a batch is cut without touching a word.

    A data loader gets whole batches from ``__getitems__``; its ``collate_fn`` has nothing left to do.

    Args:
        questions: The questions.
        vocabulary: The words of the training questions.
        answers: The answers of the training questions.
        tasks: Names of the tasks; a question's ``task`` must be one of them.
        slots: How many sentences of a story the memory can hold; of a longer story the most recent ones are
            kept, and ``shortened`` counts the questions whose story was cut so. All by default.

    Raises:
        ValueError: If a question's task is not among ``tasks``, or ``slots`` is not positive.

    Example:
        >>> ask = Question(("Mary moved to the bathroom.",), "Where is Mary?", "bathroom", (0,), 2, "my.txt")
        >>> vocabulary, answers = Vocabulary.of([*ask.story, ask.question]), Answers.of([ask.answer])
        >>> dataset = QuestionDataset([ask], vocabulary, answers, tasks=[None])
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
        if slots is not None and slots < 1:
            raise ValueError(f"slots must be at least 1, not {slots}.")
        self.questions = [most_recent(question, slots) for question in questions]
        self.shortened = sum(
            len(kept.story) < len(q.story) for kept, q in zip(self.questions, questions, strict=True)
        )
        ids: dict[str, int] = {}
        stories = [[ids.setdefault(s, len(ids)) for s in question.story] for question in self.questions]
        self._asked = torch.tensor([ids.setdefault(q.question, len(ids)) for q in self.questions])
        self._story = torch.tensor(list(chain.from_iterable(stories)), dtype=torch.long)
        self.story_lengths = torch.tensor([len(story) for story in stories])
        self._begin = self.story_lengths.cumsum(0) - self.story_lengths
        self._words, self._word_counts = _pad([vocabulary.encode(text) for text in ids])
        self._answers = torch.tensor([answers.encode(question.answer) for question in self.questions])
        self.tasks = torch.tensor([_place(question, tasks) for question in self.questions])

    def __len__(self) -> int:
        """How many questions there are."""
        return len(self.questions)

    def __getitem__(self, index: int) -> QuestionBatch:
        """The batch of one question."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> QuestionBatch:
        """The batch of the questions at these places."""
        rows = torch.tensor(indices)
        lengths = self.story_lengths[rows]
        steps = torch.arange(int(lengths.max()))
        mask = steps < lengths.unsqueeze(1)
        told = self._story[(self._begin[rows].unsqueeze(1) + steps)[mask]]
        distinct, places = torch.unique(torch.cat([told, self._asked[rows]]), return_inverse=True)
        story = torch.zeros(mask.shape, dtype=torch.long)
        story[mask] = places[: len(told)]
        counts = self._word_counts[distinct]
        return QuestionBatch(
            sentences=self._words[distinct, : int(counts.max())],
            lengths=counts,
            story=story,
            story_mask=mask,
            question=places[len(told) :],
            answer=self._answers[rows],
            task=self.tasks[rows],
            index=rows,
        )


def most_recent(question: Question, slots: int | None) -> Question:
    """The question with only the last ``slots`` sentences of its story: what a memory of that size keeps.

    Example:
        >>> question = Question(("Mary left.", "John left."), "Who left?", "John", (0, 1), 3, "my.txt")
        >>> most_recent(question, 1)[:4]
        (('John left.',), 'Who left?', 'John', (0,))
    """
    if slots is None or len(question.story) <= slots:
        return question
    dropped = len(question.story) - slots
    supporting = tuple(place - dropped for place in question.supporting if place >= dropped)
    return question._replace(
        story=question.story[dropped:], supporting=supporting, lines=question.lines[dropped:]
    )


def _pad(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    counts = torch.tensor([len(sentence) for sentence in sentences])
    padded = torch.full((len(sentences), int(counts.max())), PADDING)
    padded[torch.arange(padded.shape[1]) < counts.unsqueeze(1)] = torch.tensor(
        list(chain.from_iterable(sentences))
    )
    return padded, counts


def _place(question: Question, tasks: Sequence[str | None]) -> int:
    if question.task not in tasks:
        known = list(tasks)
        raise ValueError(
            f"{question.source}, line {question.line}: task {question.task!r} is none of {known}."
        )
    return tasks.index(question.task)
