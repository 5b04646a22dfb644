"""What the data modules of question answering have in common."""

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
from recollect_nlp.data.babi_format import Question, read_stories
from recollect_nlp.data.focus import focused
from recollect_nlp.data.questions import QuestionBatch, QuestionDataset
from recollect_nlp.data.splits import hold_out_stories
from recollect_nlp.data.vocabulary import NO_ANSWER, Answers, Vocabulary

OWN_TASK = "questions"
"""The name of the only task where the questions come from a user's own file."""

UNKNOWN_WORDS_NAMED = 5
"""How many of the unknown words of a file a warning names."""

AnsweredSplit: TypeAlias = Literal["train", "val", "test"]
"""The splits that have answers."""


class QuestionData(DataModule):
    """Questions about stories, or a user's own questions in bAbI's text format.

    A subclass gives the questions of a dataset by ``built_in`` and the names of its tasks by
    ``built_in_tasks``. With ``path`` the user's file takes the dataset's place. Vocabulary and answers come
    from the training split alone and travel in the checkpoint. A word that did not occur in training is
    read as the unknown word, and a warning names it with its file and line; an answer that did not occur is
    an error.

    Args:
        batch_size: Questions in a batch, at most.
        num_workers: As in ``DataModule``; a batch is cut so quickly that 0 is best.
        seed: Of the shuffling, and of the choice of stories that are set aside for validation.
        path: A file in bAbI's text format: in ``predict`` the questions to answer, ``-`` for standard input;
            else the training questions, in place of the dataset. By default ``predict`` takes the test split.
        val_path: The validation questions that go with ``path``; else stories of ``path`` are set aside.
        test_path: The test questions that go with ``path``; else stories of ``path`` are set aside.
        validation: Share of the training stories that is set aside wherever a split has no file of its own.
        slots: Sentences of a story to keep: of a longer one the most recent, and a warning counts the
            questions concerned. As many as the memory holds by default, which is also the most; all of them
            without a memory.
        focus: In each epoch draw the training questions by task, in proportion to the task's rate of errors
            in the epoch before (in training, 2 % at least), rather than each once.

    Raises:
        ValueError: If an argument is out of range, or ``val_path`` or ``test_path`` comes without ``path``.
        DataError: Once a file is read that breaks the format; it names file and line.
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
        focus: bool = False,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        if path is None and (val_path or test_path):
            raise ValueError(f"{'val_path' if val_path else 'test_path'} needs path, the training questions.")
        if not 0 < validation < 0.5:
            raise ValueError(f"validation must lie between 0 and 0.5, not {validation}.")
        if slots is not None and slots < 1:
            raise ValueError(f"slots must be at least 1, not {slots}.")
        self.path = path
        self.val_path = val_path
        self.test_path = test_path
        self.validation = validation
        self.slots = slots
        self.focus = focus
        self.errors: Tensor | None = None
        self._questions: dict[Split, list[Question]] = {}
        self._datasets: dict[Split, QuestionDataset] = {}

    # --- what a subclass implements -------------------------------------------------------------------------

    @property
    @abstractmethod
    def built_in_tasks(self) -> list[str]:
        """Names of the dataset's tasks, in the order in which a report shows them."""

    @abstractmethod
    def built_in(self, split: AnsweredSplit) -> list[Question]:
        """The questions of a split of the dataset."""

    # --- what callers use -----------------------------------------------------------------------------------

    @property
    def notes(self) -> list[str]:
        """How many of the questions that were measured are about stories that were cut."""
        told = [_shortened(self._datasets[s], s, self.slots) for s in ("val", "test") if s in self._datasets]
        return [note for note in told if note]

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks; ``QuestionBatch.task`` counts them."""
        return self.built_in_tasks if self.path is None else [OWN_TASK]

    @property
    def vocabulary(self) -> Vocabulary:
        """The words of the training questions."""
        return Vocabulary(self.fitted["words"])

    @property
    def answers(self) -> Answers:
        """The answers of the training questions."""
        return Answers(self.fitted["answers"])

    def questions(self, split: Split) -> list[Question]:
        """The questions of a split, in the order of their file, each with its whole story."""
        if split not in self._questions:
            self._questions[split] = self._read(split)
        return self._questions[split]

    def question(self, split: Split, index: int) -> Question:
        """The question at ``QuestionBatch.index``, with no more of its story than the slots hold."""
        return self.dataset(split).questions[index]

    # --- what the base class asks for -----------------------------------------------------------------------

    def fit(self) -> dict[str, Any]:
        """Vocabulary and answers of the training questions."""
        questions = self.questions("train")
        texts = {text for question in questions for text in (*question.story, question.question)}
        answers = Answers.of(question.answer for question in questions)
        return {"words": Vocabulary.of(texts).state(), "answers": answers.state()}

    def dataset(self, split: Split) -> QuestionDataset:
        """The questions of a split as tensors; warns of what is unknown and of stories that were cut."""
        if split not in self._datasets:
            questions, vocabulary = self.questions(split), self.vocabulary
            dataset = QuestionDataset(questions, vocabulary, self.answers, tasks=self.tasks, slots=self.slots)
            self._datasets[split] = dataset
            _warn_of_short_memory(dataset, split, self.slots)
            if split != "train":
                _warn_of_unknown_words(questions, vocabulary)
            if split in ("val", "test"):
                _warn_of_unknown_answers(questions, self.answers, split)
        return self._datasets[split]

    def batches(self, split: Split, dataset: Sized, epoch: int) -> list[list[int]]:
        """Questions with stories of about the same length together; in prediction the order of the file."""
        if split == "predict":
            places = list(range(len(dataset)))
            return [places[i : i + self.batch_size] for i in range(0, len(places), self.batch_size)]
        seed = self.seed * 1_000_003 + epoch if split == "train" else None
        lengths = self.dataset(split).story_lengths
        if split != "train" or self.errors is None:
            return length_batches(lengths, self.batch_size, seed=seed)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        items = focused(self.dataset(split).tasks, self.errors, generator)
        return length_batches(lengths, self.batch_size, seed=seed, items=items)

    def state_dict(self) -> dict[str, Any]:
        """Vocabulary and answers, and where the errors were."""
        return {**super().state_dict(), "errors": self.errors}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over vocabulary, answers and errors of a checkpoint."""
        super().load_state_dict(state_dict)
        self.errors = state_dict.get("errors")
        self._datasets.clear()

    def collate(self, items: Any) -> QuestionBatch:
        """The batch as the dataset made it."""
        return QuestionBatch(*items)

    # --- reading --------------------------------------------------------------------------------------------

    def _read(self, split: Split) -> list[Question]:
        if self.path is None:
            return self.built_in("test" if split == "predict" else split)
        if split != "predict":
            return self._own[split]
        if self.path == str(STANDARD_INPUT) and self.trainer and self.trainer.world_size > 1:
            raise DataError(
                "standard input (data.path -) can be read by one process only: set trainer.devices to 1"
            )
        return read_stories(self.path, task=OWN_TASK, answered=False)

    @cached_property
    def _own(self) -> dict[AnsweredSplit, list[Question]]:
        """The user's own questions: from a file of their own, or set aside from the training file."""
        if str(STANDARD_INPUT) in (self.path, self.val_path, self.test_path):
            raise DataError(
                "standard input (data.path -) serves predict only: name a file to train or test with"
            )
        train = read_stories(str(self.path), task=OWN_TASK)
        if self.test_path is None:
            train, test = hold_out_stories(train, self.validation, self.seed)
        else:
            test = read_stories(self.test_path, task=OWN_TASK)
        if self.val_path is None:
            train, val = hold_out_stories(train, self.validation, self.seed)
        else:
            val = read_stories(self.val_path, task=OWN_TASK)
        return {"train": train, "val": val, "test": test}


def _warn_of_short_memory(dataset: QuestionDataset, split: Split, slots: int | None) -> None:
    if told := _shortened(dataset, split, slots):
        rank_zero_warn(told)


def _shortened(dataset: QuestionDataset, split: str, slots: int | None) -> str:
    if not dataset.shortened:
        return ""
    return (
        f"{dataset.shortened} of {len(dataset)} {split} questions are about stories of more than {slots} "
        f"sentences: only the last {slots} of those are kept (data.slots)."
    )


def _warn_of_unknown_words(questions: Sequence[Question], vocabulary: Vocabulary) -> None:
    """Name the first unknown words and where they stand."""
    places: dict[str, str] = {}
    checked: set[str] = set()
    for question in questions:
        for text, line in zip(
            (*question.story, question.question), (*question.lines, question.line), strict=True
        ):
            if text not in checked:
                checked.add(text)
                for word in vocabulary.unknown(text):
                    places.setdefault(word, f"{question.source}, line {line}")
    if places:
        named = ", ".join(f"{word!r} ({place})" for word, place in list(places.items())[:UNKNOWN_WORDS_NAMED])
        more = len(places) - UNKNOWN_WORDS_NAMED
        rank_zero_warn(
            f"Words that did not occur in training are read as the unknown word: {named}"
            + (f" and {more} more." if more > 0 else ".")
        )


def _warn_of_unknown_answers(questions: Sequence[Question], answers: Answers, split: Split) -> None:
    unknown = [question for question in questions if answers.encode(question.answer) == NO_ANSWER]
    if unknown:
        first = unknown[0]
        rank_zero_warn(
            f"{len(unknown)} of {len(questions)} {split} questions have an answer that did not occur in "
            f"training and count as errors: first {first.answer!r} ({first.source}, line {first.line})."
        )
