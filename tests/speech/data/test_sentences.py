"""Text files: a sentence a line, and what is no sentence has its line named."""

from pathlib import Path

import pytest

from recollect.training import DataError
from recollect_speech.data.sentences import MAX_CHARACTERS, read_sentences


def test_lines_are_sentences_and_each_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffPlease\tcall  Stella.\r\n\n  \nIt’s é!\nPLEASE call stella\n".encode())
    assert read_sentences(path) == ["Please call Stella.", "It’s é!"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\n---\n", r"a\.txt, line 2: no letters or digits: '---'"),
        (b"one\n\ntwo\0three", r"a\.txt, line 3: a zero byte"),
        (b"one\ntwo\n\xff\xfe", r"a\.txt, line 3: not UTF-8"),
        (
            b"one\n" + b"a" * (MAX_CHARACTERS + 1),
            rf"a\.txt, line 2: {MAX_CHARACTERS + 1} characters, but a line holds one sentence",
        ),
        (b"\n \n", r"a\.txt has no sentences"),
    ],
)
def test_what_is_no_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_sentences(tmp_path / "a.txt")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_sentences(tmp_path)
