"""Recordings in many formats, and errors for invalid ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recollect.training import DataError
from recollect_speech.data.audio import Clip, is_clipped, is_silent, read_audio, read_header

Recorder = Tone = Callable[..., Any]


def test_a_recording_is_read_as_it_was_written(record: Recorder, tone: Tone) -> None:
    torch.testing.assert_close(read_audio(Clip(record("a.wav")), 8000), tone(0.8), atol=1e-4, rtol=0)


def test_channels_are_averaged(record: Recorder, tone: Tone) -> None:
    path = record("a.wav", torch.stack([tone(0.5), -tone(0.5)], 1))
    assert read_audio(Clip(path), 8000).abs().max() < 1e-4


def test_eight_bits_are_scaled_like_any_others(record: Recorder, tone: Tone) -> None:
    path = record("a.wav", subtype="PCM_U8")
    torch.testing.assert_close(read_audio(Clip(path), 8000), tone(0.8), atol=0.01, rtol=0)


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 44100])
def test_any_rate_is_resampled(record: Recorder, tone: Tone, rate: int) -> None:
    samples = read_audio(Clip(record("a.wav", tone(0.8, rate), rate)), 8000)
    assert abs(len(samples) - 6400) <= 1
    inner = slice(400, 6000)
    torch.testing.assert_close(samples[inner], tone(0.8)[: len(samples)][inner], atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["a.mp3", "a.txt", "a.raw", "a"])
def test_what_the_file_holds_decides_not_its_name(record: Recorder, name: str) -> None:
    assert len(read_audio(Clip(record(name, form="WAV")), 8000)) == 6400


@pytest.mark.parametrize("form", ["FLAC", "OGG", "AIFF"])
def test_other_formats(record: Recorder, form: str) -> None:
    assert len(read_audio(Clip(record("a", form=form)), 8000)) == 6400


def test_silence_and_clipped_samples_come_as_they_are(record: Recorder, tone: Tone) -> None:
    silent = read_audio(Clip(record("s.wav", torch.zeros(800))), 8000)
    clipped = read_audio(Clip(record("c.wav", (9 * tone(0.5)).clamp(-1, 1))), 8000)
    assert is_silent(silent)
    assert not is_clipped(silent)
    assert is_clipped(clipped)
    assert not is_clipped(tone(0.5))


def test_a_part_of_a_recording(record: Recorder, tone: Tone) -> None:
    path = record("a.wav")
    part = read_audio(Clip(path, 0.25, 0.5), 8000)
    torch.testing.assert_close(part, tone(0.8)[2000:4000], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.25), (0.0, 1.5), (-1.0, None), (0.8, None), (2.0, 3.0)])
def test_a_part_that_is_none_names_the_length(record: Recorder, start: float, end: float | None) -> None:
    with pytest.raises(
        DataError, match=r"list.tsv, line 3: .*a.wav: .* is not within the 0.800 s of the file"
    ):
        read_header(Clip(record("a.wav"), start, end), "list.tsv, line 3")


def test_no_sound_is_an_error(record: Recorder) -> None:
    with pytest.raises(DataError, match=r"a.wav is empty: 0 seconds of audio"):
        read_audio(Clip(record("a.wav", torch.zeros(0))), 8000)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"list.tsv, line 2: .*no.wav: there is no such file"):
        read_header(Clip(tmp_path / "no.wav"), "list.tsv, line 2")


def test_text_is_no_audio(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("not a sound")
    with pytest.raises(DataError, match=r"a.wav is not readable audio"):
        read_audio(Clip(path), 8000)


def test_a_sample_that_is_no_number_is_an_error(record: Recorder, tone: Tone) -> None:
    samples = tone(0.1)
    samples[5] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        read_audio(Clip(record("a.wav", samples, subtype="FLOAT")), 8000)
