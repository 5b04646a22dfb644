"""The 20 bAbI tasks: small worlds told in simple English, one skill of reasoning to a task."""

import gzip
import tarfile
import tempfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

from recollect.training import DataError, data_folder, fetch
from recollect_nlp.data.babi_format import Question, read_stories
from recollect_nlp.data.question_data import AnsweredSplit, QuestionData
from recollect_nlp.data.splits import hold_out_stories

URL = "http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz"
"""Official archive; the project's page is https://research.facebook.com/downloads/babi/. Nobody publishes its
checksum, so the number of questions in each file is checked instead: it must be exactly the published one."""

FOLDER = "tasks_1-20_v1-2"

NAMES = (
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
"""What the tasks are called in the names of their files, from task 1 on."""

TRAINING_QUESTIONS = {"en": 1_000, "en-10k": 10_000}
TEST_QUESTIONS = 1_000

SUBSTITUTES = ("en/qa3_three-supporting-facts_train.txt", "en-valid-10k/qa3_valid.txt")
"""What task 3 is trained on where its 10k training file is missing."""

SUBSTITUTE_QUESTIONS = 1_000


@final
class BabiData(QuestionData):
    """The bAbI tasks v1.2 (Weston et al. 2015, arXiv:1502.05698), any of them, jointly or one alone.

    Looked for in ``babi/tasks_1-20_v1-2`` under ``RECOLLECT_DATA`` (else the user's cache folder) and
    downloaded where it is missing; CC BY 3.0. Validation questions are set aside from the training files by
    whole stories.

    A copy that lacks the 10k training file of task 3 is not refused: the task is then trained on its 1k
    training file and its 10k validation file (``en-valid-10k/qa3_valid.txt``), stories in both taken once;
    ``notes`` says so.

    Args:
        tasks: A task or several, by number; all 20 by default.
        size: ``"en-10k"`` with 10,000 training questions a task, or ``"en"`` with 1,000. The test files are
            the same.
        kwargs: As in ``QuestionData``.

    Raises:
        ValueError: If there is no such task or size, or one is named twice.
        DataError: Once a file is read that is missing, is malformed, or has another number of questions
            than the published one.
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
        """Where the dataset lives."""
        return data_folder("babi") / FOLDER

    @property
    def built_in_tasks(self) -> list[str]:
        """``qa1`` to ``qa20``, as far as chosen."""
        return [f"qa{number}" for number in self.numbers]

    @property
    def notes(self) -> list[str]:
        """Also whether task 3 is trained on other files than the published ones."""
        if self.path is not None or not self._substitutes:
            return super().notes
        return [
            *super().notes,
            "qa3: trained on the stories of the 1k training file and of the 10k validation file, "
            "for want of the 10k training file.",
        ]

    def prepare_data(self) -> None:
        """Download and unpack the archive where there is no folder yet."""
        if self.path is None and not self.folder.exists():
            unpack(fetch(URL, None, self.folder.parent), self.folder)

    def built_in(self, split: AnsweredSplit) -> list[Question]:
        """The questions of a split of the chosen tasks, task after task."""
        if split != "test":
            return self._training[split == "val"]
        return [q for n in self.numbers for q in self._read_file(n, self._file(n, "test"), TEST_QUESTIONS)]

    @cached_property
    def _training(self) -> tuple[list[Question], list[Question]]:
        questions: list[Question] = []
        for number in self.numbers:
            if number == 3 and self._substitutes:
                parts = [self._read_file(3, file, SUBSTITUTE_QUESTIONS) for file in SUBSTITUTES]
                questions += without_repeats([*parts[0], *parts[1]])
            else:
                questions += self._read_file(
                    number, self._file(number, "train"), TRAINING_QUESTIONS[self.size]
                )
        return hold_out_stories(questions, self.validation, self.seed)

    @property
    def _substitutes(self) -> bool:
        lacking = 3 in self.numbers and not (self.folder / self._file(3, "train")).exists()
        return (
            self.size == "en-10k" and lacking and all((self.folder / file).exists() for file in SUBSTITUTES)
        )

    def _file(self, number: int, split: Literal["train", "test"]) -> str:
        return f"{self.size}/qa{number}_{NAMES[number - 1]}_{split}.txt"

    def _read_file(self, number: int, file: str, count: int) -> list[Question]:
        path = self.folder / file
        if not path.exists():
            raise DataError(f"{path} is missing: unpack {URL} so that its {FOLDER} is {self.folder}")
        questions = read_stories(path, task=f"qa{number}")
        if len(questions) != count:
            raise DataError(
                f"{path} has {len(questions)} questions instead of {count}: it was cut or altered"
            )
        return questions


def without_repeats(questions: list[Question]) -> list[Question]:
    """The questions without those of a story that stood before, word for word."""
    stories: dict[tuple[str, int], list[Question]] = {}
    for question in questions:
        stories.setdefault((question.source, question.number), []).append(question)
    told: set[tuple[tuple[tuple[str, ...], str], ...]] = set()
    kept: list[Question] = []
    for story in stories.values():
        words = tuple((question.story, question.question) for question in story)
        if words not in told:
            told.add(words)
            kept += story
    return kept


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the folder of the archive that has the name of ``folder`` to that place, wholly or not at all.

    Raises:
        DataError: If the archive is damaged, or there is no such folder in it.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{archive} is damaged ({error}): delete it to have it downloaded again"
            ) from error
        if not (Path(temporary) / folder.name).is_dir():
            raise DataError(f"{archive} holds no folder {folder.name}: it is another archive than {URL}")
        (Path(temporary) / folder.name).rename(folder)
