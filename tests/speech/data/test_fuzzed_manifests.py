"""Manifests under fuzzing: read rightly, or refused with the file's name."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from hypothesis import strategies as st

from recollect.training import DataError
from recollect_speech.data.units import normalize_text
from recollect_speech.data.utterances import read_manifest

from ...fuzzed_files import ENCODINGS, LINE_ENDS, damaged, fuzz

TEXTS = st.text(st.characters(exclude_characters="\t\r\n\0", exclude_categories=["Cs"]), min_size=1).map(
    lambda text: f"{text} one"
)
ROWS = st.lists(st.tuples(TEXTS, st.floats(0, 0.2), st.floats(0.3, 0.5)), min_size=1, max_size=6)


@st.composite
def manifests(draw: Any) -> tuple[list[tuple[str, float, float]], str, bytes]:
    """Text, start and end of each recording; the suffix; the file."""
    rows, suffix = draw(ROWS), draw(st.sampled_from([".tsv", ".jsonl"]))
    names = draw(st.permutations(["path", draw(st.sampled_from(["text", "sentence"])), "start", "end"]))
    cells = []
    for text, start, end in rows:
        values = {"path": "a.wav", "text": text, "sentence": text, "start": start, "end": end}
        cells.append({name: values[name] for name in names})
    if suffix == ".tsv":
        lines = ["\t".join(names), *("\t".join(str(row[name]) for name in names) for row in cells)]
    else:
        lines = [json.dumps(row, ensure_ascii=draw(st.booleans())) for row in cells]
    end = draw(st.sampled_from(LINE_ENDS))
    return rows, suffix, "".join(line + end for line in lines).encode(draw(st.sampled_from(ENCODINGS)))


def folder_with_audio(folder: pytest.TempPathFactory) -> Path:
    path = folder.getbasetemp()
    if not (path / "a.wav").exists():
        soundfile.write(path / "a.wav", torch.zeros(4000).numpy(), 8000)
    return path


@fuzz(manifests())
def test_manifests_are_read_as_they_were_written(folder: pytest.TempPathFactory, example: Any) -> None:
    rows, suffix, content = example
    path = folder_with_audio(folder) / f"list{suffix}"
    path.write_bytes(content)
    found = read_manifest(path)
    assert [normalize_text(item.text) for item in found] == [normalize_text(text) for text, _, _ in rows]
    assert [(item.audio.start, item.audio.end) for item in found] == [row[1:] for row in rows]


@fuzz(manifests().flatmap(lambda example: st.tuples(st.just(example[1]), damaged(example[2]))))
def test_damage_is_refused_with_the_file_or_read(folder: pytest.TempPathFactory, example: Any) -> None:
    suffix, content = example
    path = folder_with_audio(folder) / f"damaged{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert read_manifest(path)
        return
    with pytest.raises(DataError, match=rf"damaged\{suffix}"):
        read_manifest(path)
