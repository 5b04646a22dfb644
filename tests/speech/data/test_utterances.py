"""Manifests, folders, and errors that name file and line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from recollect.training import DataError
from recollect_speech.data.utterances import read_folder, read_manifest

Recorder = Callable[..., Path]


def test_a_table_and_json_lines_say_the_same(record: Recorder, tmp_path: Path) -> None:
    record("in/a.wav")
    table = tmp_path / "list.tsv"
    table.write_text(
        "path\ttext\tstart\tend\tspeaker\nin/a.wav\tone two\t0.1\t0.6\tann\n\nin/a.wav\tthree\t\t\t\n"
    )
    lines = tmp_path / "list.jsonl"
    rows = [
        {"path": "in/a.wav", "text": "one two", "start": 0.1, "end": 0.6, "speaker": "ann"},
        {"path": "in/a.wav", "text": "three"},
    ]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for path in (table, lines):
        first, second = read_manifest(path)
        assert (first.text, first.speaker, first.name) == ("one two", "ann", "in/a.wav[0.1:0.6]")
        assert first.seconds() == pytest.approx(0.5)
        assert len(first.samples(8000)) == 4000
        assert (second.text, second.speaker, second.name) == ("three", None, "in/a.wav")
        assert second.seconds() == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.wav\t", "no text"),
        ("\tone", "no path"),
        ("no.wav\tone", r"no\.wav: there is no such file"),
        ("a.wav", "1 cells under 2 columns"),
    ],
)
def test_a_bad_line_of_a_table_is_named(record: Recorder, tmp_path: Path, line: str, message: str) -> None:
    record("a.wav")
    path = tmp_path / "list.tsv"
    path.write_text(f"path\ttext\na.wav\tone\n{line}\n")
    with pytest.raises(DataError, match=rf"list\.tsv, line 3: .*{message}"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "invalid JSON"),
        ("[1]", "not a JSON object"),
        ('{"path": "a.wav", "text": ""}', "no text"),
        ('{"path": "a.wav", "text": "x", "start": "soon"}', "not a number of seconds"),
        ('{"path": "a.wav", "text": "x", "end": NaN}', "end is nan"),
        ('{"path": "a.wav", "text": "x", "stat": 1}', "stat is not one of path, text"),
        ('{"path": "a.wav", "text": "x", "start": 3}', "is not within"),
    ],
)
def test_a_bad_json_line_is_named(record: Recorder, tmp_path: Path, line: str, message: str) -> None:
    record("a.wav")
    path = tmp_path / "list.jsonl"
    path.write_text(f'{{"path": "a.wav", "text": "one"}}\n{line}\n')
    with pytest.raises(DataError, match=rf"list\.jsonl, line 2: .*{message}"):
        read_manifest(path)


def test_text_may_be_wanting_where_it_is_not_needed(record: Recorder, tmp_path: Path) -> None:
    record("a.wav")
    path = tmp_path / "list.tsv"
    path.write_text("path\na.wav\n")
    assert read_manifest(path, texts=False)[0].text == ""


def test_what_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_manifest(tmp_path / "no.tsv")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DataError, match="lists no recordings"):
        read_manifest(empty)
    headless = tmp_path / "list.tsv"
    headless.write_text("a.wav\tone\n")
    with pytest.raises(DataError, match=r"line 1: expected a header with the column path"):
        read_manifest(headless)
    latin = tmp_path / "latin.tsv"
    latin.write_bytes("path\ttext\na.wav\tcafé\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_manifest(latin)


def test_a_folder_is_read_by_name(record: Recorder, tmp_path: Path) -> None:
    record("b.wav")
    record("in/a.flac")
    (tmp_path / "notes.txt").write_text("no recording")
    assert [item.name for item in read_folder(tmp_path)] == ["b.wav", "in/a.flac"]
    with pytest.raises(DataError, match="has no recordings"):
        read_folder(tmp_path / "none")
