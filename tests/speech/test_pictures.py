"""Pictures show words where they were said, and only what was read."""

import torch

from recollect_speech.pictures import KeywordPicture, TranscriptPicture
from recollect_speech.types import TimedWord

WORDS = [TimedWord("one", 0.04, 0.16, 0.9), TimedWord("$two", 0.32, 1.0, 0.5)]


def test_words_stand_where_they_were_said() -> None:
    figure = TranscriptPicture("said: one two", torch.randn(100, 40), WORDS).draw()
    (axes,) = figure.axes
    assert figure.get_suptitle() == "said: one two"
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
    picture = TranscriptPicture("", torch.randn(100, 40), [], weights, 0.32)
    spectrogram, read, *_ = picture.draw().axes
    assert spectrogram.get_xlabel() == "seconds"
    shown = read.images[0].get_array()
    assert shown is not None
    assert shown.shape == (3, 3)
    assert "0.32 s" in read.get_xlabel()


def test_words_are_drawn_with_and_without_what_is_remembered() -> None:
    alone, adapted = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.9, 0.0])
    names = ["one", "$two", "three"]
    _, bars = KeywordPicture("", torch.randn(30, 40), names, alone, adapted).draw().axes
    assert [text.get_text() for text in bars.get_yticklabels()] == [r"\$two", "one", "three"]
    assert (bars.get_xlabel(), bars.get_ylabel()) == ("probability", "likeliest words")
    widths = [round(bar.get_width(), 3) for bar in bars.patches]
    assert widths == [0.2, 0.7, 0.1, 0.9, 0.1, 0.0]
    _, bars = KeywordPicture("", torch.randn(30, 40), names, alone).draw().axes
    assert len(bars.patches) == 3
    assert bars.get_legend() is None
