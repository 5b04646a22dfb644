"""Transcript figures show words at their times, and reads of the memory where there is one."""

import torch

from recollect_speech.figures.recognition import TranscriptFigure
from recollect_speech.types import TimedWord

WORDS = [TimedWord("one", 0.04, 0.16, 0.9), TimedWord("$two", 0.32, 1.0, 0.5)]


def test_words_stand_where_they_were_said() -> None:
    figure = TranscriptFigure("transcript: one two", torch.randn(100, 40), WORDS).draw()
    (axes,) = figure.axes
    assert figure.get_suptitle() == "transcript: one two"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds", "mel bin")
    assert axes.get_ylim() == (0, 40)
    assert axes.get_xlim() == (0, 1)
    texts = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert texts.keys() == {"one 0.90", r"\$two 0.50"}
    assert abs(texts["one 0.90"] - (0.04 + 0.16) / 2) < 1e-6
    assert texts[r"\$two 0.50"] < 1
    figure.canvas.draw()
    height = axes.get_window_extent()
    for text in axes.texts:  # in the coloured band at the top
        assert text.get_window_extent().y0 > height.y0 + 0.8 * height.height


def test_what_was_read_is_drawn_where_there_is_a_memory() -> None:
    weights = torch.tril(torch.ones(3, 3), -1) / 2
    picture = TranscriptFigure("", torch.randn(100, 40), [], weights, 0.32)
    spectrogram, read, *_ = picture.draw().axes
    assert spectrogram.get_xlabel() == "seconds"
    shown = read.images[0].get_array()
    assert shown is not None
    assert shown.shape == (3, 3)
    assert "0.32 s" in read.get_xlabel()
