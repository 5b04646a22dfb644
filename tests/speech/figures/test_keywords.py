"""Keyword figures show the most probable words, with and without the memory."""

import torch

from recollect_speech.figures.keywords import KeywordFigure


def test_words_are_drawn_with_and_without_the_memory() -> None:
    alone, adapted = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.9, 0.0])
    names = ["one", "$two", "three"]
    _, bars = KeywordFigure("", torch.randn(30, 40), names, alone, adapted).draw().axes
    assert [text.get_text() for text in bars.get_yticklabels()] == [r"\$two", "one", "three"]
    assert (bars.get_xlabel(), bars.get_ylabel()) == ("probability", "most probable words")
    widths = [round(bar.get_width(), 3) for bar in bars.patches]
    assert widths == [0.2, 0.7, 0.1, 0.9, 0.1, 0.0]
    _, bars = KeywordFigure("", torch.randn(30, 40), names, alone).draw().axes
    assert len(bars.patches) == 3
    assert bars.get_legend() is None
