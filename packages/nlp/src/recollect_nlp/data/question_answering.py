"""The base of all data modules for question answering."""

from abc import abstractmethod
from collections.abc import Sequence, Sized
from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from recollect.training import DataError, DataModule, Split
from recollect.training.batching import length_batches
from recollect.training.text import STANDARD_INPUT
from recollect.validation import check_positive
from recollect_nlp.data.babi_format import Question, read_stories
from recollect_nlp.data.error_sampling import sample_by_error
from recollect_nlp.data.question_dataset import QuestionDataset
from recollect_nlp.data.splits import hold_out_stories
from recollect_nlp.data.vocabulary import Answers, Vocabulary
from recollect_nlp.types import NO_ANSWER, QuestionBatch

CUSTOM_TASK = "questions"
"""Name of the only task of a custom file."""

MAX_NAMED_WORDS = 5
"""Maximum number of unknown words that a warning names."""

AnsweredSplit: TypeAlias = Literal["train", "val", "test"]
"""Splits that have answers."""


class QuestionData(DataModule):
    """Questions about stories, from a dataset or from custom files in the text format of bAbI.

    A subclass implements ``built_in``, the questions of the dataset, and ``built_in_tasks``, the names of its
    tasks. With ``path``, a custom file replaces the dataset. Vocabulary and answers are fitted to the
    training split and saved in checkpoints. Words that did not occur in training are encoded as ``UNK``, with
    a warning that names file and line; answers that did not occur in training count as errors.

    Args:
        batch_size: Maximum number of questions in a batch.
        num_workers: As in ``DataModule``; batches are so cheap that 0 is fastest.
        seed: Seed of the shuffling and of the choice of held-out stories.
        path: A file in the text format of bAbI: in ``predict`` the questions to answer, ``-`` for standard
            input; otherwise the training questions. By default ``predict`` answers the test split.
        val_path: Validation questions for ``path``; by default stories of ``path`` are held out.
        test_path: Test questions for ``path``; by default stories of ``path`` are held out.
        validation: Fraction of the training stories to hold out for each split without a file of its own.
        slots: Maximum number of sentences of a story. Longer stories keep their last sentences, and a
            warning counts the questions about them. By default the capacity of the memory, which is also the
            maximum; no limit without a memory.
        error_sampling: Whether each epoch samples the training questions by task, in proportion to the task's
            error rate in the previous epoch of training (at least 2 %).

    Raises:
        ValueError: If an argument is out of range, or ``val_path`` or ``test_path`` comes without ``path``.
        DataError: When a file is read, if it is malformed; the message names file and line.
    """

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        validation: float = 0.1,
        slots: int | None = None,
        error_sampling: bool = False,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        if path is None and (val_path or test_path):
            raise ValueError(f"{'val_path' if val_path else 'test_path'} needs path, the training questions")
        if not 0 < validation < 0.5:
            raise ValueError(f"validation must be between 0 and 0.5, got {validation}")
        check_positive(slots=slots)
        self.path = path
        self.val_path = val_path
        self.test_path = test_path
        self.validation = validation
        self.slots = slots
        self.error_sampling = error_sampling
        self.error_rates: Tensor | None = None
        self._questions: dict[Split, list[Question]] = {}
        self._datasets: dict[Split, QuestionDataset] = {}

    # --- implemented by subclasses --------------------------------------------------------------------------

    @property
    @abstractmethod
    def built_in_tasks(self) -> list[str]:
        """Names of the tasks of the dataset, in the order of reports."""

    @abstractmethod
    def built_in(self, split: AnsweredSplit) -> list[Question]:
        """The questions of a split of the dataset."""

    # --- for callers ----------------------------------------------------------------------------------------

    @property
    def notes(self) -> list[str]:
        """Number of evaluated questions about truncated stories."""
        evaluated = [split for split in ("val", "test") if split in self._datasets]
        notes = [_truncation(self._datasets[split], split, self.slots) for split in evaluated]
        return [note for note in notes if note]

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks; ``QuestionBatch.task`` is an index of this list."""
        return self.built_in_tasks if self.path is None else [CUSTOM_TASK]

    @property
    def vocabulary(self) -> Vocabulary:
        """Words of the training questions."""
        return Vocabulary(self.fitted["words"])

    @property
    def answers(self) -> Answers:
        """Answers of the training questions."""
        return Answers(self.fitted["answers"])

    def questions(self, split: Split) -> list[Question]:
        """Return the questions of a split with their whole stories, in the order of the file."""
        if split not in self._questions:
            self._questions[split] = self._read(split)
        return self._questions[split]

    def question(self, split: Split, index: int) -> Question:
        """Return the question at ``QuestionBatch.index``, with at most ``slots`` sentences of its story."""
        return self.dataset(split).questions[index]

    # --- required by DataModule -----------------------------------------------------------------------------

    def fit(self) -> dict[str, Any]:
        """Fit vocabulary and answers to the training questions."""
        questions = self.questions("train")
        texts = {text for question in questions for text in (*question.story, question.question)}
        answers = Answers.of(question.answer for question in questions)
        return {"words": Vocabulary.of(texts).state(), "answers": answers.state()}

    def dataset(self, split: Split) -> QuestionDataset:
        """Return the questions of a split as tensors; warn about unknown words and truncated stories."""
        if split not in self._datasets:
            questions, vocabulary = self.questions(split), self.vocabulary
            dataset = QuestionDataset(questions, vocabulary, self.answers, tasks=self.tasks, slots=self.slots)
            self._datasets[split] = dataset
            _warn_about_truncation(dataset, split, self.slots)
            if split != "train":
                _warn_about_unknown_words(questions, vocabulary)
            if split in ("val", "test"):
                _warn_about_unknown_answers(questions, self.answers, split)
        return self._datasets[split]

    def batches(self, split: Split, dataset: Sized, epoch: int) -> list[list[int]]:
        """Batch questions about stories of similar length; keep the order of the file in prediction."""
        if split == "predict":
            order = list(range(len(dataset)))
            return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        seed = self.seed * 1_000_003 + epoch if split == "train" else None
        lengths = self.dataset(split).story_lengths
        if split != "train" or self.error_rates is None:
            return length_batches(lengths, self.batch_size, seed=seed)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        items = sample_by_error(self.dataset(split).tasks, self.error_rates, generator)
        return length_batches(lengths, self.batch_size, seed=seed, items=items)

    def state_dict(self) -> dict[str, Any]:
        """Return vocabulary, answers and error rates."""
        return {**super().state_dict(), "error_rates": self.error_rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore vocabulary, answers and error rates."""
        super().load_state_dict(state_dict)
        self.error_rates = state_dict.get("error_rates")
        self._datasets.clear()

    def collate(self, items: Any) -> QuestionBatch:
        """Return the batch of the dataset unchanged."""
        return QuestionBatch(*items)

    # --- reading --------------------------------------------------------------------------------------------

    def _read(self, split: Split) -> list[Question]:
        if self.path is None:
            return self.built_in("test" if split == "predict" else split)
        if split != "predict":
            return self._custom[split]
        if self.path == str(STANDARD_INPUT) and self.trainer and self.trainer.world_size > 1:
            raise DataError(
                "standard input (--data.path -) can be read by one process only: set --trainer.devices 1"
            )
        return read_stories(self.path, task=CUSTOM_TASK, answered=False)

    @cached_property
    def _custom(self) -> dict[AnsweredSplit, list[Question]]:
        """The questions of custom files; splits without a file are held out from the training file."""
        if str(STANDARD_INPUT) in (self.path, self.val_path, self.test_path):
            raise DataError(
                "standard input (--data.path -) is for predict only: training and testing need a file"
            )
        train = read_stories(str(self.path), task=CUSTOM_TASK)
        if self.test_path is None:
            train, test = hold_out_stories(train, self.validation, self.seed)
        else:
            test = read_stories(self.test_path, task=CUSTOM_TASK)
        if self.val_path is None:
            train, val = hold_out_stories(train, self.validation, self.seed)
        else:
            val = read_stories(self.val_path, task=CUSTOM_TASK)
        return {"train": train, "val": val, "test": test}


def _warn_about_truncation(dataset: QuestionDataset, split: Split, slots: int | None) -> None:
    if message := _truncation(dataset, split, slots):
        rank_zero_warn(message)


def _truncation(dataset: QuestionDataset, split: str, slots: int | None) -> str:
    if not dataset.truncated:
        return ""
    return (
        f"{dataset.truncated} of {len(dataset)} {split} questions are about stories of more than {slots} "
        f"sentences; only the last {slots} are kept (--data.slots)."
    )


def _warn_about_unknown_words(questions: Sequence[Question], vocabulary: Vocabulary) -> None:
    """Warn about unknown words, with file and line of the first ones."""
    found: dict[str, str] = {}
    checked: set[str] = set()
    for question in questions:
        for text, line in zip(
            (*question.story, question.question), (*question.lines, question.line), strict=True
        ):
            if text not in checked:
                checked.add(text)
                for word in vocabulary.unknown(text):
                    found.setdefault(word, f"{question.source}, line {line}")
    if found:
        named = ", ".join(f"{word!r} ({where})" for word, where in list(found.items())[:MAX_NAMED_WORDS])
        more = len(found) - MAX_NAMED_WORDS
        rank_zero_warn(
            f"Words that did not occur in training are treated as unknown: {named}"
            + (f" and {more} more." if more > 0 else ".")
        )


def _warn_about_unknown_answers(questions: Sequence[Question], answers: Answers, split: Split) -> None:
    unknown = [question for question in questions if answers.encode(question.answer) == NO_ANSWER]
    if unknown:
        first = unknown[0]
        rank_zero_warn(
            f"{len(unknown)} of {len(questions)} {split} questions have an answer that did not occur in "
            f"training and count as errors, first {first.answer!r} ({first.source}, line {first.line})."
        )
