"""Questions about stories in the text format of bAbI: numbered lines.

::

    1 Mary moved to the bathroom.
    2 John went to the hallway.
    3 Where is Mary?	bathroom	1

Each line has its number within the story, followed by a sentence or by a question, its answer and the numbers
of the supporting lines, separated by tabs. Number 1 starts a new story. A question refers to all earlier
sentences of its story (Weston et al. 2015, arXiv:1502.05698).
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recollect.training import DataError
from recollect.training.text import decode, name_of, read_bytes, split_lines, tokenize


class Question(NamedTuple):
    """A question about a story.

    Attributes:
        story: The sentences before the question.
        question: The question.
        answer: The answer; a comma-separated list is one answer. Empty if a prediction file has none.
        supporting: Indices of the sentences of the story that support the answer, from 0.
        line: Line of the question in its file, from 1.
        source: The file.
        task: Task of the question, if any.
        number: Index of the story in its file, from 0.
        lines: Line of each sentence of the story in its file, from 1.
    """

    story: tuple[str, ...]
    question: str
    answer: str
    supporting: tuple[int, ...]
    line: int
    source: str
    task: str | None = None
    number: int = 0
    lines: tuple[int, ...] = ()


class _Line(NamedTuple):
    file_line: int  # from 1
    number: int  # in the story
    text: str
    answer: str | None  # None if there is no tab
    supporting: tuple[str, ...]

    @property
    def is_question(self) -> bool:
        return self.answer is not None or self.text.endswith("?")


def read_stories(path: str | Path, *, task: str | None = None, answered: bool = True) -> list[Question]:
    r"""Read the questions of a file in the text format of bAbI, in order.

    Args:
        path: The file, plain or gzipped; ``-`` reads standard input.
        task: Task of the questions.
        answered: Whether every question must have an answer.

    Raises:
        DataError: If the file cannot be read, is empty, is not UTF-8 or malformed; the message names file and
            line.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "my.txt")
        >>> _ = path.write_text("1 Mary moved to the bathroom.\n2 Where is Mary?\tbathroom\t1\n")
        >>> question, = read_stories(path)
        >>> question.story, question.question, question.answer, question.supporting
        (('Mary moved to the bathroom.',), 'Where is Mary?', 'bathroom', (0,))
    """
    return parse_stories(read_bytes(Path(path)), name_of(Path(path)), task=task, answered=answered)


def parse_stories(
    content: bytes, source: str, *, task: str | None = None, answered: bool = True
) -> list[Question]:
    """Parse the content of the file ``source``; see ``read_stories``."""
    questions: list[Question] = []
    story: list[str] = []
    lines: list[int] = []
    indices: dict[str, int] = {}  # number of a sentence in the file → its index in the story
    number, first_line, previous = -1, 0, 0
    for line in _lines(decode(content, source), source):
        if line.number == 1:
            _check_has_question(questions, number, source, first_line)
            story, lines, indices, number, first_line = [], [], {}, number + 1, line.file_line
        elif line.number != previous + 1:
            expected = f"{previous + 1}, or 1 for the next story" if previous else "1"
            raise malformed(
                source, line.file_line, f"line number {line.number} in the story; expected {expected}."
            )
        previous = line.number
        if line.is_question:
            if not story:
                raise malformed(source, line.file_line, "a question before the first sentence of its story.")
            supporting = _supporting(line, indices, source)
            answer = _answer(line, source, answered)
            questions.append(
                Question(
                    tuple(story),
                    line.text,
                    answer,
                    supporting,
                    line.file_line,
                    source,
                    task,
                    number,
                    tuple(lines),
                )
            )
        else:
            indices[str(line.number)] = len(story)
            story.append(line.text)
            lines.append(line.file_line)
    if number < 0:
        raise malformed(source, None, "the file is empty.")
    _check_has_question(questions, number, source, first_line)
    return questions


def malformed(source: str, line: int | None, problem: str) -> DataError:
    """Build the error for a malformed file; its message starts with file and line."""
    return DataError(f"{source}{'' if line is None else f', line {line}'}: {problem}")


def _lines(text: str, source: str) -> Iterator[_Line]:
    for line, raw in enumerate(split_lines(text), start=1):
        if not raw.strip():
            continue
        number, _, rest = raw.strip(" ").partition(" ")
        if not re.fullmatch("[0-9]{1,9}", number):
            raise malformed(source, line, f"no line number before {raw.strip()[:40]!r}.")
        sentence, *fields = (field.strip() for field in rest.split("\t"))
        if len(fields) > 2:
            problem = f"{len(fields)} tabs; expected at most 2: question, answer, supporting lines."
            raise malformed(source, line, problem)
        if not tokenize(sentence):
            raise malformed(source, line, "no words after the line number.")
        supporting = tuple(fields[1].split()) if len(fields) == 2 else ()
        yield _Line(line, int(number), sys.intern(sentence), fields[0] if fields else None, supporting)


def _answer(line: _Line, source: str, answered: bool) -> str:
    if answered and not line.answer:
        raise malformed(source, line.file_line, f"no answer after the question {line.text!r}.")
    return line.answer or ""


def _supporting(line: _Line, indices: dict[str, int], source: str) -> tuple[int, ...]:
    for number in line.supporting:
        if number not in indices:
            problem = f"supporting line {number!r} is not an earlier sentence of this story."
            raise malformed(source, line.file_line, problem)
    return tuple(indices[number] for number in line.supporting)


def _check_has_question(questions: list[Question], number: int, source: str, first_line: int) -> None:
    if number >= 0 and (not questions or questions[-1].number != number):
        raise malformed(source, first_line, "the story that begins here has no question.")
