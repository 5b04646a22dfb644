"""Recordings and manifests as people keep them: cut, damaged, streamed; other scripts and manifests."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from hypothesis import strategies as st

from recollect.training import DataError
from recollect_speech.data.audio import Clip, check_audio, read_audio, read_header
from recollect_speech.data.units import fit_units, normalize_text
from recollect_speech.data.utterances import read_folder, read_manifest

from ...fuzzed_files import fuzz

Recorder = Callable[..., Path]
RATE = 8000
FORMATS = ["wav", "flac", "ogg", "mp3", "aiff"]


def noise(seconds: float = 3.0) -> torch.Tensor:
    return torch.rand(round(seconds * RATE), generator=torch.Generator().manual_seed(0)) - 0.5


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "aiff"])
def test_half_a_file_is_not_a_whole_recording(record: Recorder, tmp_path: Path, suffix: str) -> None:
    path = cut(record(f"a.{suffix}", noise(), RATE), 0.5)
    with pytest.raises(DataError, match=rf"a\.{suffix} is (cut short|damaged)"):
        check_audio(path)
    with pytest.raises(DataError, match=rf"a\.{suffix} is (cut short|damaged)"):
        read_audio(Clip(path), RATE)
    manifest = tmp_path / "list.tsv"
    manifest.write_text(f"path\ttext\na.{suffix}\tone two\n")
    with pytest.raises(DataError, match=rf"list\.tsv, line 2: .*a\.{suffix} is (cut short|damaged)"):
        read_manifest(manifest)


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_files_of_all_formats_are_read(record: Recorder, suffix: str) -> None:
    path = record(f"a.{suffix}", noise(), RATE)
    assert check_audio(path).frames == pytest.approx(3 * RATE, abs=0.2 * RATE)
    assert len(read_audio(Clip(path), RATE)) == pytest.approx(3 * RATE, abs=0.2 * RATE)
    assert len(read_audio(Clip(path, 0.5, 1.0), RATE)) == RATE // 2


def test_a_stream_without_a_length_is_read_to_its_end(record: Recorder) -> None:
    path = record("a.flac", noise(), RATE)
    content = bytearray(path.read_bytes())
    assert content[:4] == b"fLaC"
    content[21] &= 0xF0  # the number of samples: 36 bits of the first block of metadata
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert check_audio(path).frames == 3 * RATE
    assert read_header(Clip(path)).frames == 3 * RATE
    torch.testing.assert_close(read_audio(Clip(path), RATE), noise(), atol=1e-4, rtol=0)
    assert len(read_audio(Clip(path, 2.0, 2.5), RATE)) == RATE // 2
    with pytest.raises(DataError, match=r"not within the 3\.000 s"):
        read_audio(Clip(path, 2.0, 4.0), RATE)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wave_file_from_a_pipe_is_read_to_its_end(record: Recorder, size: int) -> None:
    path = record("a.wav", noise(), RATE)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert check_audio(path).frames == 3 * RATE


@pytest.mark.parametrize(("start", "end"), [(0.1, 0.100001), (0.79999, None)])
def test_a_part_of_microseconds_is_refused(record: Recorder, start: float, end: float | None) -> None:
    with pytest.raises(DataError, match=r"list, line 3: .*a\.wav: .* s holds no sample of audio"):
        read_audio(Clip(record("a.wav"), start, end), RATE, "list, line 3")


@st.composite
def damaged_recordings(draw: Any) -> tuple[str, bytes]:
    """A format, and a recording of half a second with some bytes changed or missing."""
    suffix, chance = draw(st.sampled_from(FORMATS)), draw(st.randoms(use_true_random=False))
    file = io.BytesIO()
    soundfile.write(file, noise(0.5).numpy(), RATE, format=suffix.upper())
    content = bytearray(file.getvalue())
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    if chance.random() < 0.3:
        del content[chance.randrange(len(content)) :]
    return suffix, bytes(content)


@fuzz(damaged_recordings(), few=60, many=1000 * len(FORMATS))
def test_damage_is_refused_with_the_file_or_read(
    folder: pytest.TempPathFactory, example: tuple[str, bytes]
) -> None:
    suffix, content = example
    path = folder.getbasetemp() / f"damaged.{suffix}"
    path.write_bytes(content)
    for read in (check_audio, lambda path: read_audio(Clip(path), RATE)):
        with contextlib.suppress(DataError):
            read(path)
            continue
        with pytest.raises(DataError, match=rf"damaged\.{suffix}"):
            read(path)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("नमस्ते दुनिया!", "नमस्ते दुनिया"),
        ("Mu\u0308nchen", "m\u00fcnchen"),
        ("สวัสดี", "สวัสดี"),
        ("שָׁלוֹם", "שָׁלוֹם"),
        ("İstanbul", "i\u0307stanbul"),
        ("-5 °C", "-5 °c"),
        ("a-5, 5%", "a 5 5%"),
        ("C++ – C#", "c++ c#"),
        ("$5 & €3", "$5 & €3"),
        ("<noise> [laughs] `x`_y", "noise laughs x y"),
    ],
)
def test_marks_and_symbols_belong_to_transcripts(text: str, normalized: str) -> None:
    assert normalize_text(text) == normalize_text(normalized)
    assert normalize_text(text).replace("\u0307", "") == normalized.replace("\u0307", "")


def test_words_of_another_script_are_words() -> None:
    units = fit_units("words", [normalize_text("एक हिन्दी"), normalize_text("दो नमस्ते")], 0)
    assert units.decode(units.encode("हिन्दी नमस्ते")) == "हिन्दी नमस्ते"


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "no text"), (False, "text is false, not a string"), ([], r"text is \[\], not a string"),
     (5, "text is 5, not a string"), ("...", "no text besides punctuation: '...'"), (" ", "no text")],
)  # fmt: skip
def test_what_is_no_text_is_refused(record: Recorder, tmp_path: Path, value: object, message: str) -> None:
    record("a.wav")
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"path": "a.wav", "text": value}) + "\n")
    with pytest.raises(DataError, match=rf"list\.jsonl, line 1: {message}"):
        read_manifest(path)


@pytest.mark.parametrize("mark", ["\u2028", "\u0085", "\x0b", "\x0c"])
def test_only_line_ends_end_lines(record: Recorder, tmp_path: Path, mark: str) -> None:
    record("a.wav")
    table, lines = tmp_path / "list.tsv", tmp_path / "list.jsonl"
    table.write_text(f"path\ttext\na.wav\tone{mark}two\n", encoding="utf-8")
    lines.write_text(
        json.dumps({"path": "a.wav", "text": f"one{mark}two"}, ensure_ascii=False), encoding="utf-8"
    )
    assert [normalize_text(item.text) for path in (table, lines) for item in read_manifest(path)] == [
        "one two"
    ] * 2


def test_manifests_of_other_tools_are_read(record: Recorder, tmp_path: Path) -> None:
    record("a.wav")
    nemo, voice = tmp_path / "nemo.jsonl", tmp_path / "voice.tsv"
    nemo.write_text('{"audio_filepath": "a.wav", "offset": 0.1, "duration": 0.5, "text": "one"}\n')
    voice.write_text("client_id\tpath\tsentence\tup_votes\nann\ta.wav\tone\t2\n")
    assert read_manifest(nemo)[0].seconds() == pytest.approx(0.5)
    assert (read_manifest(voice)[0].text, read_manifest(voice)[0].speaker) == ("one", "ann")


def test_a_column_is_named_once(record: Recorder, tmp_path: Path) -> None:
    record("a.wav")
    (tmp_path / "list.tsv").write_text("path\ttext\ttext\na.wav\tone\ttwo\n")
    with pytest.raises(DataError, match=r"list\.tsv, line 1: a column is named twice: path, text, text"):
        read_manifest(tmp_path / "list.tsv")


def test_folders_are_read_through_links(record: Recorder, tmp_path: Path) -> None:
    record("elsewhere/a.wav")
    folder = tmp_path / "folder"
    (folder / "__MACOSX").mkdir(parents=True)
    (folder / "__MACOSX" / "._a.wav").write_bytes(b"no audio")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    assert [item.name for item in read_folder(folder)] == ["linked/a.wav"]


def test_a_file_of_two_channels_and_24_bits_is_read(tmp_path: Path) -> None:
    samples = torch.stack([noise(), noise()], 1)
    soundfile.write(tmp_path / "a.wav", samples.numpy(), RATE, subtype="PCM_24")
    torch.testing.assert_close(read_audio(Clip(tmp_path / "a.wav"), RATE), noise(), atol=1e-5, rtol=0)
