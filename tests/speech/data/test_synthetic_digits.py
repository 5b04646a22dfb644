"""What eSpeak NG says: the same each time, and no voice or string in two splits."""

import itertools
import subprocess
import sys

import pytest

from recollect_speech.data.digits import split_of, words
from recollect_speech.data.espeak import Voice, synthesize
from recollect_speech.data.synthetic_digits import SyntheticDigitsData
from recollect_speech.data.tts_corpus import VARIANTS, voices


def test_texts_are_spoken_in_the_voice_and_at_the_speed_asked_for() -> None:
    text, voice = "one two three", Voice("en-us+f2", 150, 40)
    first = synthesize(text, voice, 8000)
    assert 0.3 < len(first) / 8000 < 3
    assert 0.05 < first.abs().max() <= 1
    assert len(synthesize("four", Voice("en+m3", 220, 70), 8000)) < len(first)
    assert len(synthesize(text, voice._replace(speed=300), 8000)) < 0.8 * len(first)


SCRIPT = """
import hashlib
from recollect_speech.data.espeak import Voice, synthesize
said = [synthesize(text, Voice("en-us+f2"), 8000) for text in ("one", "two", "one")]
print(*[hashlib.sha256(samples.numpy().tobytes()).hexdigest() for samples in said])
"""


@pytest.mark.slow
def test_two_processes_hear_the_same() -> None:
    digests = {
        subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True).stdout for _ in "ab"
    }
    assert len(digests) == 1


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(ValueError, match="no voice 'xx-nobody'"):
        synthesize("one", Voice("xx-nobody"), 8000)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_voice_is_there(split: str) -> None:
    for name in voices(split):  # type: ignore[arg-type]
        assert len(synthesize("two", Voice(name), 8000)) > 800


def test_splits_share_neither_voices_nor_strings() -> None:
    data = SyntheticDigitsData(train=60, val=20, test=20)
    found = {split: data.utterances(split) or [] for split in ("train", "val", "test")}
    assert {split: len(items) for split, items in found.items()} == {"train": 60, "val": 20, "test": 20}
    for one, other in itertools.combinations(found.values(), 2):
        assert not {item.text for item in one} & {item.text for item in other}
        assert not {item.speaker for item in one} & {item.speaker for item in other}
    for one, other in itertools.combinations(VARIANTS.values(), 2):
        assert not set(one) & set(other)
    assert all(3 <= len(item.text.split()) <= 7 for items in found.values() for item in items)


def test_the_seed_decides() -> None:
    texts = [
        [item.text for item in SyntheticDigitsData(9, 2, 2, seed=seed).utterances("train") or []]
        for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_string_is_in_one_split() -> None:
    shares = [split_of(digits) for digits in itertools.product(range(10), repeat=3)]
    assert 0.7 < shares.count("train") / 1000 < 0.9
    assert min(shares.count("val"), shares.count("test")) > 60
    assert words((0, 9)) == "zero nine"
