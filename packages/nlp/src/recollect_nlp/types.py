"""Records and constants shared by data, models, tasks and figures."""

from typing import NamedTuple

from torch import Tensor

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""Ids of padding, of anything unknown, and of the beginning and the end of a sentence."""

NO_ANSWER = -1
"""Class of an answer that is missing or did not occur in training."""


class QuestionBatch(NamedTuple):
    """B questions about stories of up to T sentences, each of up to L words.

    Questions share sentences, so each distinct sentence of the batch occurs once in ``sentences`` and is
    encoded once; U is their number. Stories run from the oldest sentence to the latest, followed by padding.

    Attributes:
        sentences: ``(U, L)`` int64 word ids of the distinct sentences and questions, padded with 0.
        lengths: ``(U,)`` int64, number of words of each, at least one.
        story: ``(B, T)`` int64, row of ``sentences`` for each sentence of a story; 0 where padded.
        story_mask: ``(B, T)`` bool, true where ``story`` holds a sentence.
        question: ``(B,)`` int64, row of ``sentences`` for each question.
        answer: ``(B,)`` int64 class; −1 if it is missing or did not occur in training.
        task: ``(B,)`` int64, index of the question's task among the data's tasks.
        index: ``(B,)`` int64, index of the question in its dataset.
    """

    sentences: Tensor
    lengths: Tensor
    story: Tensor
    story_mask: Tensor
    question: Tensor
    answer: Tensor
    task: Tensor
    index: Tensor  # type: ignore[assignment]  # shadows tuple.index, which nothing here needs


class TranslationItem(NamedTuple):
    """A sentence and its translation, as pieces and as text; both targets are empty in prediction."""

    source: list[int]
    target: list[int]
    source_text: str
    target_text: str


class TranslationBatch(NamedTuple):
    """A batch of sentence pairs.

    Attributes:
        source: ``(B, S)`` int64 pieces, each sentence ending in ``EOS``, padded with ``PAD``.
        target: ``(B, T)`` likewise; ``(B, 0)`` in prediction.
        source_text: B sentences.
        target_text: B translations, empty in prediction.
    """

    source: Tensor
    target: Tensor
    source_text: list[str]
    target_text: list[str]
