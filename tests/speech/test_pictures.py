"""Pictures show words where they were said, and only what was read."""

import torch

from recollect_speech.models.alignment import Word
from recollect_speech.pictures import HeardPicture

WORDS = [Word("one", 3, 6, 0.9), Word("$two", 10, 40, 0.5)]


def test_words_stand_where_they_were_said_and_within_the_recording() -> None:
    figure = HeardPicture("said: one two", torch.randn(100, 40), WORDS, 0.04, 0.08).draw()
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 1)
    texts = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert texts.keys() == {"one 0.90", r"\$two 0.50"}
    assert abs(texts["one 0.90"] - (0.04 + 0.16) / 2) < 1e-6
    assert texts[r"\$two 0.50"] < 1


def test_what_was_read_is_drawn_where_there_is_a_memory() -> None:
    weights = torch.tril(torch.ones(3, 3), -1) / 2
    picture = HeardPicture("", torch.randn(100, 40), [], 0.04, 0.08, weights, 0.32)
    spectrogram, read, *_ = picture.draw().axes
    assert spectrogram.get_xlabel() == "seconds"
    shown = read.images[0].get_array()
    assert shown is not None
    assert shown.shape == (3, 3)
    assert "0.32 s" in read.get_xlabel()
