"""Forced alignment: the time and the confidence of each word."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import forced_align, merge_tokens

from recollect_speech.types import BLANK


class Word(NamedTuple):
    """A word, its steps ``start`` (inclusive) to ``end`` (exclusive), and its confidence in [0, 1]."""

    text: str
    start: int
    end: int
    confidence: float


def align(log_probs: Tensor, units: Sequence[int], name: Callable[[int], str]) -> list[Word]:
    """Align ``units`` with ``log_probs`` ``(T, V)`` along their best path and join them to words.

    The confidence of a word is the geometric mean of its units' probabilities over their steps.

    Args:
        log_probs: Log-probabilities at each step.
        units: The recognized units.
        name: Text of a unit; a leading space starts a word.

    Raises:
        ValueError: If there are too few steps for the units.

    Example:
        >>> path = torch.tensor([[0.1, 0.9, 0.0], [0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.0, 0.8]]).log()
        >>> [(w.text, w.start, w.end, round(w.confidence, 2)) for w in align(path, [1, 2], " ab".__getitem__)]
        [('ab', 0, 4, 0.87)]
    """
    if not units:
        return []
    needed = len(units) + sum(a == b for a, b in zip(units[1:], units, strict=False))
    if needed > len(log_probs):
        raise ValueError(f"{len(units)} units need {needed} steps, got {len(log_probs)}")
    finite = log_probs.clamp_min(-1e4).unsqueeze(0).cpu()
    with torch.device("cpu"):  # torchaudio creates its indices on the default device
        path, scores = forced_align(finite, torch.tensor([list(units)]), blank=BLANK)
    words: list[tuple[str, int, int, list[float]]] = []
    for span in merge_tokens(path[0], scores[0], BLANK):
        text = name(span.token)
        values = scores[0, span.start : span.end].tolist()
        if words and not text.startswith(" ") and words[-1][0]:
            before, start, _, logs = words[-1]
            words[-1] = (before + text, start, span.end, logs + values)
        elif text == " ":
            words.append(("", span.start, span.end, []))
        else:
            words.append((text.strip(), span.start, span.end, values))
    return [
        Word(text, start, end, math.exp(sum(logs) / len(logs))) for text, start, end, logs in words if text
    ]
