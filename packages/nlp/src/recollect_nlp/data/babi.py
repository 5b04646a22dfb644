"""The 20 bAbI tasks: stories in simple English; each task needs another kind of reasoning."""

import gzip
import tarfile
import tempfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

from recollect.training import DataError, data_folder, fetch
from recollect_nlp.data.babi_format import Question, read_stories
from recollect_nlp.data.question_answering import AnsweredSplit, QuestionData
from recollect_nlp.data.splits import hold_out_stories

URL = "http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz"
"""Official archive; the project's page is https://research.facebook.com/downloads/babi/. It has no published
checksum, so the number of questions in each file is checked instead."""

FOLDER = "tasks_1-20_v1-2"

TASK_NAMES = (
    "single-supporting-fact",
    "two-supporting-facts",
    "three-supporting-facts",
    "two-arg-relations",
    "three-arg-relations",
    "yes-no-questions",
    "counting",
    "lists-sets",
    "simple-negation",
    "indefinite-knowledge",
    "basic-coreference",
    "conjunction",
    "compound-coreference",
    "time-reasoning",
    "basic-deduction",
    "basic-induction",
    "positional-reasoning",
    "size-reasoning",
    "path-finding",
    "agents-motivations",
)
"""Names of the tasks in file names, from task 1."""

TRAINING_QUESTIONS = {"en": 1_000, "en-10k": 10_000}
TEST_QUESTIONS = 1_000

FALLBACK_FILES = ("en/qa3_three-supporting-facts_train.txt", "en-valid-10k/qa3_valid.txt")
"""Training files of task 3 if its 10k training file is missing."""

FALLBACK_QUESTIONS = 1_000


@final
class BabiData(QuestionData):
    """The bAbI tasks v1.2 (Weston et al. 2015, arXiv:1502.05698), one or several.

    The files are in ``babi/tasks_1-20_v1-2`` under ``RECOLLECT_DATA`` or the user's cache folder, and are
    downloaded if they are missing; CC BY 3.0. Whole stories of the training files are held out for
    validation.

    If the 10k training file of task 3 is missing, the task is trained on its 1k training file and its 10k
    validation file (``en-valid-10k/qa3_valid.txt``) without duplicate stories; ``notes`` says so.

    Args:
        tasks: Numbers of the tasks; all 20 by default.
        size: ``"en-10k"`` with 10,000 training questions per task, or ``"en"`` with 1,000. The test files are
            the same.
        kwargs: As in ``QuestionData``.

    Raises:
        ValueError: If a task or the size does not exist, or a task occurs twice.
        DataError: When a file is read, if it is missing or malformed, or its number of questions is not the
            published one.
    """

    def __init__(
        self,
        tasks: int | list[int] | None = None,
        size: Literal["en-10k", "en"] = "en-10k",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        chosen = list(range(1, 21)) if tasks is None else [tasks] if isinstance(tasks, int) else tasks
        if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(1, 21)):
            raise ValueError(f"tasks must be different numbers from 1 to 20, not {chosen}.")
        if size not in TRAINING_QUESTIONS:
            raise ValueError(f"size must be one of {list(TRAINING_QUESTIONS)}, not {size!r}.")
        self.numbers = chosen
        self.size = size

    @property
    def folder(self) -> Path:
        """Folder of the dataset."""
        return data_folder("babi") / FOLDER

    @property
    def built_in_tasks(self) -> list[str]:
        """Names of the chosen tasks, ``qa1`` to ``qa20``."""
        return [f"qa{number}" for number in self.numbers]

    @property
    def notes(self) -> list[str]:
        """The notes of ``QuestionData``, and whether task 3 is trained on other files."""
        if self.path is not None or not self._uses_fallback:
            return super().notes
        return [
            *super().notes,
            "qa3: trained on the 1k training file and the 10k validation file, "
            "because the 10k training file is missing.",
        ]

    def prepare_data(self) -> None:
        """Download and unpack the archive if the folder does not exist."""
        if self.path is None and not self.folder.exists():
            unpack(fetch(URL, None, self.folder.parent), self.folder)

    def built_in(self, split: AnsweredSplit) -> list[Question]:
        """The questions of a split, by task."""
        if split != "test":
            return self._training[split == "val"]
        return [q for n in self.numbers for q in self._read_file(n, self._file(n, "test"), TEST_QUESTIONS)]

    @cached_property
    def _training(self) -> tuple[list[Question], list[Question]]:
        questions: list[Question] = []
        for number in self.numbers:
            if number == 3 and self._uses_fallback:
                parts = [self._read_file(3, file, FALLBACK_QUESTIONS) for file in FALLBACK_FILES]
                questions += without_duplicates([*parts[0], *parts[1]])
            else:
                questions += self._read_file(
                    number, self._file(number, "train"), TRAINING_QUESTIONS[self.size]
                )
        return hold_out_stories(questions, self.validation, self.seed)

    @property
    def _uses_fallback(self) -> bool:
        missing = 3 in self.numbers and not (self.folder / self._file(3, "train")).exists()
        return (
            self.size == "en-10k"
            and missing
            and all((self.folder / file).exists() for file in FALLBACK_FILES)
        )

    def _file(self, number: int, split: Literal["train", "test"]) -> str:
        return f"{self.size}/qa{number}_{TASK_NAMES[number - 1]}_{split}.txt"

    def _read_file(self, number: int, file: str, count: int) -> list[Question]:
        path = self.folder / file
        if not path.exists():
            raise DataError(f"{path} is missing: unpack {URL} so that its {FOLDER} is {self.folder}")
        questions = read_stories(path, task=f"qa{number}")
        if len(questions) != count:
            raise DataError(
                f"{path} has {len(questions)} questions instead of {count}: it is incomplete or modified"
            )
        return questions


def without_duplicates(questions: list[Question]) -> list[Question]:
    """Return the questions without those of a story that is equal to an earlier one."""
    stories: dict[tuple[str, int], list[Question]] = {}
    for question in questions:
        stories.setdefault((question.source, question.number), []).append(question)
    seen: set[tuple[tuple[tuple[str, ...], str], ...]] = set()
    kept: list[Question] = []
    for story in stories.values():
        text = tuple((question.story, question.question) for question in story)
        if text not in seen:
            seen.add(text)
            kept += story
    return kept


def unpack(archive: Path, folder: Path) -> None:
    """Unpack ``folder`` from the archive that contains it, completely or not at all.

    Raises:
        DataError: If the archive is damaged or has no folder of that name.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{archive} is damaged ({error}): delete it to download it again") from error
        if not (Path(temporary) / folder.name).is_dir():
            raise DataError(f"{archive} has no folder {folder.name}: it is not the archive {URL}")
        (Path(temporary) / folder.name).rename(folder)
