"""Files of questions under fuzzing: read rightly, or refused with the file's name."""

import contextlib
from typing import Any

import pytest
from hypothesis import strategies as st

from recollect.training import DataError
from recollect.training.text import tokenize
from recollect_nlp.data.babi_format import read_stories

from ...fuzzed_files import ENCODINGS, LINE_ENDS, damaged, fuzz

SENTENCES = st.text(st.characters(exclude_characters="\t\r\n\0?", exclude_categories=["Cs"]), min_size=1).map(
    lambda text: f"{text} moved".strip()
)
Story = list[tuple[str, str | None]]
"""Sentences with ``None`` and questions with their answer."""


@st.composite
def stories(draw: Any) -> tuple[list[Story], bytes]:
    """Stories, each a list of sentences (``None``) and questions with their answer; the file."""
    answers = st.text(st.characters(categories=["L", "N"]), min_size=1)
    made = []
    for _ in range(draw(st.integers(1, 3))):
        first = [(sentence, None) for sentence in draw(st.lists(SENTENCES, min_size=1, max_size=3))]
        made.append(
            [*first, *draw(st.lists(st.tuples(SENTENCES.map("{}?".format), answers), min_size=1, max_size=2))]
        )
    end = draw(st.sampled_from(LINE_ENDS))
    lines = [
        f"{number} {text}" + ("" if answer is None else f"\t{answer}\t1")
        for story in made
        for number, (text, answer) in enumerate(story, 1)
    ]
    return made, end.join([*lines, ""]).encode(draw(st.sampled_from(ENCODINGS)))


@fuzz(stories())
def test_stories_are_read_as_they_were_written(folder: pytest.TempPathFactory, example: Any) -> None:
    made, content = example
    path = folder.getbasetemp() / "stories.txt"
    path.write_bytes(content)
    found = read_stories(path)
    expected = [
        (number, text, answer) for number, story in enumerate(made) for text, answer in story if answer
    ]
    assert [(question.number, question.question, question.answer) for question in found] == expected
    told = [tuple(text for text, answer in story if answer is None) for story in made]
    assert all(question.story == told[question.number] and question.supporting == (0,) for question in found)
    assert all(tokenize(question.question) for question in found)


@fuzz(stories().flatmap(lambda example: damaged(example[1])))
def test_damage_is_refused_with_the_file_or_read(folder: pytest.TempPathFactory, content: bytes) -> None:
    path = folder.getbasetemp() / "damaged.txt"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert read_stories(path)
        return
    with pytest.raises(DataError, match=r"damaged\.txt"):
        read_stories(path)
