"""Single words of eSpeak NG."""

import torch

from recollect_speech.data.digits import NAMES
from recollect_speech.data.synthetic_words import synthesize_words, trim


def test_every_word_is_said_as_often_and_silence_is_cut_off() -> None:
    said = synthesize_words(NAMES, 20, 8000, seed=0)
    assert [item.text for item in said] == list(NAMES) * 2
    assert len({item.speaker for item in said}) > 10
    for item in said:
        samples = item.samples(8000)
        loud = 0.005 * samples.abs().max()
        assert samples[0].abs() > loud
        assert samples[-1].abs() > loud
        assert 0.1 < item.seconds() < 1.5


def test_the_seed_draws_the_voices() -> None:
    voices = [[item.speaker for item in synthesize_words(NAMES, 10, 8000, seed)] for seed in (0, 0, 1)]
    assert voices[0] == voices[1] != voices[2]


def test_nothing_is_cut_off_where_there_is_nothing() -> None:
    assert len(trim(torch.zeros(5))) == 5
    assert len(trim(torch.zeros(0))) == 0
