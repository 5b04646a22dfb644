"""Figures of question answering: what the memory read."""

from collections.abc import Sequence

from torch import Tensor

from recollect.training import ReadHeatmap
from recollect_nlp.data.babi_format import Question

MAX_FIGURES = 6
"""Number of questions of a batch to draw."""


def read_figures(
    questions: Sequence[Question],
    answers: Sequence[str],
    probabilities: Sequence[float],
    reads: Sequence[Tensor | None],
) -> list[ReadHeatmap]:
    """Return a heat map of the reads of each question by hop, with the supporting sentences marked.

    Args:
        questions: The questions.
        answers: Predicted answers.
        probabilities: Probabilities of the predicted answers.
        reads: Weights ``(hops, sentences)``; questions with ``None`` are left out.
    """
    return [
        ReadHeatmap(
            title=f"{question.question} → {answer} ({probability:.0%}); true: {question.answer}",
            weights=weights,
            rows=[f"hop {hop + 1}" for hop in range(len(weights))],
            columns=question.story,
            highlighted=question.supporting,
            across="read",
            down="sentences of the story",
        )
        for question, answer, probability, weights in zip(
            questions, answers, probabilities, reads, strict=True
        )
        if weights is not None
    ]
