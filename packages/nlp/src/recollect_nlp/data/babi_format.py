"""Question answering in bAbI's text format, one numbered line after the other.

::

    1 Mary moved to the bathroom.
    2 John went to the hallway.
    3 Where is Mary?	bathroom	1

A line is its number within the story and a sentence, or a question with a tab, its answer, a tab and the
numbers of the lines that support the answer. Number 1 begins the next story; a question looks back on all
sentences of its story so far (Weston et al. 2015, arXiv:1502.05698).
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
        answer: Its answer, a comma-joined list being one answer; empty where a prediction file gives none.
        supporting: Which sentences of the story support the answer, counted from 0.
        line: The line of the question in its file, counted from 1.
        source: The file.
        task: The task that the question belongs to, if any.
        number: Which story of its file it is about, counted from 0.
        lines: The line of each sentence of the story in its file, counted from 1.
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
    place: int  # in the file
    number: int  # in the story
    text: str
    answer: str | None  # None where there is no tab
    supporting: tuple[str, ...]

    @property
    def is_question(self) -> bool:
        return self.answer is not None or self.text.endswith("?")


def read_stories(path: str | Path, *, task: str | None = None, answered: bool = True) -> list[Question]:
    r"""The questions of a file in bAbI's text format, in its order.

    Args:
        path: The file, plain or gzipped; ``-`` reads standard input.
        task: The task to name in each question.
        answered: Whether every question must have an answer, as training and testing need.

    Raises:
        DataError: If the file cannot be read, is empty, is not UTF-8 or breaks the format; it names file and
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
    """The questions in the content of a file; see ``read_stories``. ``source`` names the file in messages."""
    questions: list[Question] = []
    story: list[str] = []
    lines: list[int] = []
    places: dict[str, int] = {}  # a sentence's number in the file → its place in the story
    number, begun, previous = -1, 0, 0
    for line in _lines(decode(content, source), source):
        if line.number == 1:
            _check_asked(questions, number, source, begun)
            story, lines, places, number, begun = [], [], {}, number + 1, line.place
        elif line.number != previous + 1:
            expected = f"{previous + 1}, or 1 for the next story" if previous else "1"
            raise malformed(source, line.place, f"the line's number is {line.number}; expected {expected}.")
        previous = line.number
        if line.is_question:
            if not story:
                raise malformed(source, line.place, "a question before the first sentence of its story.")
            supporting = _supporting(line, places, source)
            answer = _answer(line, source, answered)
            told = tuple(story), line.text, answer, supporting, line.place, source, task, number, tuple(lines)
            questions.append(Question(*told))
        else:
            places[str(line.number)] = len(story)
            story.append(line.text)
            lines.append(line.place)
    if number < 0:
        raise malformed(source, None, "the file is empty.")
    _check_asked(questions, number, source, begun)
    return questions


def malformed(source: str, line: int | None, problem: str) -> DataError:
    """The error that a file is not in the format it should be in; its message begins with file and line."""
    return DataError(f"{source}{'' if line is None else f', line {line}'}: {problem}")


def _lines(text: str, source: str) -> Iterator[_Line]:
    for place, raw in enumerate(split_lines(text), start=1):
        if not raw.strip():
            continue
        number, _, rest = raw.strip(" ").partition(" ")
        if not re.fullmatch("[0-9]{1,9}", number):
            raise malformed(source, place, f"no line number before {raw.strip()[:40]!r}.")
        sentence, *fields = (field.strip() for field in rest.split("\t"))
        if len(fields) > 2:
            problem = f"{len(fields)} tabs; a question has an answer and supporting lines after it, no more."
            raise malformed(source, place, problem)
        if not tokenize(sentence):
            raise malformed(source, place, "no words after the line's number.")
        supporting = tuple(fields[1].split()) if len(fields) == 2 else ()
        yield _Line(place, int(number), sys.intern(sentence), fields[0] if fields else None, supporting)


def _answer(line: _Line, source: str, answered: bool) -> str:
    if answered and not line.answer:
        raise malformed(source, line.place, f"no answer after the question {line.text!r}.")
    return line.answer or ""


def _supporting(line: _Line, places: dict[str, int], source: str) -> tuple[int, ...]:
    for number in line.supporting:
        if number not in places:
            problem = f"supporting line {number!r} is not an earlier sentence of this story."
            raise malformed(source, line.place, problem)
    return tuple(places[number] for number in line.supporting)


def _check_asked(questions: list[Question], number: int, source: str, begun: int) -> None:
    if number >= 0 and (not questions or questions[-1].number != number):
        raise malformed(source, begun, "the story that begins here has no question.")
