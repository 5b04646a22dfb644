"""Figures of translation."""

import torch

from recollect_nlp.data.subword_tokenizer import SubwordTokenizer
from recollect_nlp.figures.translation import attention_figures
from recollect_nlp.types import EOS, PAD


def test_a_figure_ends_at_the_end_of_the_sentence_on_both_sides() -> None:
    tokenizer = SubwordTokenizer(SubwordTokenizer.fit(["a dog runs", "a cat sleeps"] * 3, size=40))
    source, translation = "a dog", tokenizer.encode("a cat")
    columns = tokenizer.pieces(source)
    translations = torch.tensor([[*translation, PAD, PAD]])
    attention = torch.rand(1, len(translation) + 2, len(columns) + 3)
    (figure,) = attention_figures([source], [columns], translations, attention, tokenizer)
    assert translation[-1] == EOS
    assert figure.title == "a dog → a cat"
    assert figure.rows == [tokenizer.piece(piece) for piece in translation]
    assert figure.columns == columns
    assert torch.equal(figure.weights, attention[0, : len(translation), : len(columns)])
    assert len(figure.draw().axes[0].get_yticklabels()) == len(columns)
