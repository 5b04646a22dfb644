"""Figures of question answering."""

import torch

from recollect_nlp.data.babi_format import Question
from recollect_nlp.figures.question_answering import read_figures

QUESTION = Question(("Mary left.", "John left."), "Who left first?", "Mary", (0,), 3, "my.txt")


def test_a_figure_has_a_row_per_hop_and_a_column_per_sentence() -> None:
    weights = torch.tensor([[0.9, 0.1], [0.4, 0.6], [1.0, 0.0]])
    (figure,) = read_figures([QUESTION], ["John"], [0.75], [weights])
    assert figure.title == "Who left first? → John (75%); true: Mary"
    assert figure.rows == ["hop 1", "hop 2", "hop 3"]
    assert figure.columns == QUESTION.story
    assert figure.highlighted == (0,)
    assert figure.weights is weights
    assert len(figure.draw().axes[0].get_yticklabels()) == 2


def test_questions_without_weights_are_left_out() -> None:
    weights = torch.ones(1, 2) / 2
    other = QUESTION._replace(question="Who left last?")
    figures = read_figures([QUESTION, other], ["Mary", "John"], [1.0, 1.0], [None, weights])
    assert [figure.title.split(" →")[0] for figure in figures] == ["Who left last?"]
