"""Recordings are cut between words, and the words joined to new sentences."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from recollect.training import DataError
from recollect_speech.cli import main
from recollect_speech.commands.splice import WordClip, cut, draw, join, write
from recollect_speech.data.utterances import read_manifest
from recollect_speech.types import TimedWord

RATE = 1000


def word(text: str, start: float, end: float) -> TimedWord:
    return TimedWord(text, start, end, 1.0)


def test_parts_make_up_the_whole_and_are_cut_in_silence():
    samples = torch.rand(2000) + 0.5
    samples[640:700] = samples[1310:1400] = 0
    words = [word("one", 0.1, 0.62), word("two", 0.72, 1.3), word("three", 1.36, 1.9)]
    parts = cut(samples, words, RATE)
    assert [part.text for part in parts] == ["one", "two", "three"]
    assert torch.equal(torch.cat([part.samples for part in parts]), samples)
    ends = torch.tensor([len(part.samples) for part in parts]).cumsum(0)
    assert 640 <= ends[0] <= 700
    assert 1310 <= ends[1] <= 1400


@pytest.mark.parametrize("seed", range(20))
def test_words_without_a_pause_have_each_a_part(seed):
    generator = torch.Generator().manual_seed(seed)
    times = (0.02 + 0.1 * torch.rand(9, generator=generator)).cumsum(0).tolist()
    words = [word(str(i), start, end) for i, (start, end) in enumerate(pairwise(times))]
    samples = torch.randn(round(RATE * times[-1]), generator=generator)
    parts = cut(samples, words, RATE)
    assert min(len(part.samples) for part in parts) > 0
    assert torch.equal(torch.cat([part.samples for part in parts]), samples)


def test_a_single_word_is_the_whole():
    (part,) = cut(torch.ones(100), [word("one", 0.0, 0.1)], RATE)
    assert len(part.samples) == 100


def test_joints_are_neither_gaps_nor_louder():
    whole = join([torch.ones(100), torch.ones(50), torch.ones(7)], fade=10)
    assert torch.allclose(whole, torch.ones(100 + 50 + 7 - 10 - 7))
    assert torch.equal(join([torch.ones(3), torch.zeros(2)], fade=0), torch.tensor([1.0, 1, 1, 0, 0]))
    assert torch.equal(join([torch.ones(3)], fade=5), torch.ones(3))


def test_neighbours_stay_neighbours_within_a_span():
    texts = ["a b c d e f", "g h i j"]
    recordings = [[WordClip(name, torch.zeros(1)) for name in text.split()] for text in texts]
    following = {(a, b) for text in texts for a, b in pairwise(text.split())}
    chance = random.Random(0)
    for span, least_kept in ((1, 0), (4, 200)):
        drawn = [draw(recordings, (3, 6), span, chance) for _ in range(100)]
        assert {len(clips) for clips in drawn} == {3, 4, 5, 6}
        pairs = [(a.text, b.text) for clips in drawn for a, b in pairwise(clips)]
        assert sum(pair in following for pair in pairs) >= least_kept
        assert len(set(pairs) - following) > 10


def test_a_manifest_of_what_was_joined_is_written_once(tmp_path: Path):
    parts = {
        name: [[WordClip(f"{name}{i}", torch.full((200,), 0.1)) for i in range(3)]] for name in ("x", "y")
    }
    folder = tmp_path / "spliced"
    write(parts, folder, count=20, words=(2, 3), span=1, rate=RATE, seed=0)
    found = read_manifest(folder / "train.tsv")
    assert len(found) == 20
    assert {item.speaker for item in found} == {"x", "y"}
    for item in found:
        words = item.text.split()
        assert {name[0] for name in words} == {item.speaker}
        assert len(item.samples(RATE)) == 200 * len(words) - 10 * (len(words) - 1)
    before = (folder / "train.tsv").read_bytes()
    with pytest.raises(DataError, match="exists"):
        write(parts, folder, count=1, words=(2, 3), span=1, rate=RATE, seed=1)
    assert (folder / "train.tsv").read_bytes() == before


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--words", "5", "2"], 2, "--words LEAST not above MOST"),
        (["--count", "0"], 2, "--count, --span and --words must be positive"),
        ([], 1, "exists already; choose a new folder"),
    ],
)
def test_wrong_arguments_are_named_before_a_run_is_loaded(
    args: list[str], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        main(["splice", str(tmp_path / "missing"), "--output", str(tmp_path), *args])
    assert stop.value.code == code
    assert message in capsys.readouterr().err


def test_what_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="1"):
        main(["splice", str(tmp_path), "--output", str(tmp_path / "out")])
    assert f"{tmp_path} is no run folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
