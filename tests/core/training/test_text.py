"""Text files: line ends, encodings, archives, and Unicode text as words."""

import gzip
import io
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.training import DataError
from recollect.training.text import normalize, read_lines, read_text, split_lines, tokenize

ENDS = ["\n", "\r\n", "\r"]


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))),
    st.sampled_from(ENDS),
)
def test_lines_end_where_editors_end_them(lines: list[str], end: str):
    assert split_lines("".join(line + end for line in lines)) == lines


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_with_a_mark_and_archives_are_read(tmp_path: Path, encoding: str, end: str, packed: bool):
    content = f"Straße{end}日本\u2028{end}".encode(encoding)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read_lines(path) == ["Straße", "日本\u2028"]


def test_another_encoding_is_named_with_its_line(tmp_path: Path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"one\rtwo\r\n" + "Größe für Überläufer, schön und gefährlich\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"latin.txt, line 3: not UTF-8 .*it may be .*: iconv -f "):
        read_text(path)


def test_utf_16_without_a_mark_is_refused(tmp_path: Path):
    path = tmp_path / "wide.txt"
    path.write_bytes("a line\nanother\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"wide.txt, line 1: a zero byte"):
        read_text(path)


@given(st.data())
def test_a_damaged_archive_is_refused_or_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    path = tmp_path_factory.getbasetemp() / "damaged.gz"
    whole = bytearray(gzip.compress(b"user,item\n" * 50))
    place = data.draw(st.integers(2, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[place] ^= data.draw(st.integers(1, 255))
    else:
        del whole[place:]
    path.write_bytes(whole)
    try:
        text = read_text(path)
    except DataError as error:
        text, message = "", str(error)
    assert text == "user,item\n" * 50 or "damaged.gz" in message


def test_what_is_no_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"there is no file .*missing.txt"):
        read_text(tmp_path / "missing.txt")
    with pytest.raises(DataError, match=f"{tmp_path} cannot be read"):
        read_text(tmp_path)


def test_the_standard_input_is_a_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfea\x00\n\x00")))
    assert read_lines(Path("-")) == ["a"]


@pytest.mark.parametrize("word", ["बगीचा", "बगीची", "münchen", "שָׁלוֹם", "ก็ดี", "i̇stanbul", "می‌خواهم", "ಕನ್ನಡ"])
def test_combining_marks_belong_to_words(word: str):
    assert tokenize(f"{word}, {word}!") == [normalize(word)] * 2
    assert tokenize(unicodedata.normalize("NFD", word)) == [normalize(word)]


@pytest.mark.parametrize(
    "text", ["-5", "5", "+5", "$5", "5%", "5 €", ".5", "-.5", "5.5", "C", "C++", "C#", "a&b", "ab", "@a"]
)
def test_signs_and_units_make_a_difference(text: str):
    others = {"-5", "5", "+5", "$5", "5%", "5 €", ".5", "-.5", "5.5", "C", "C++", "C#", "a&b", "ab", "@a"} - {
        text
    }
    assert all(tokenize(text) != tokenize(other) for other in others)


def test_punctuation_is_no_word():
    assert tokenize("… -- (?!) „“ — '") == []
