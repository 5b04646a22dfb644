"""When each word was said, and how sure of it the recognizer is."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import forced_align, merge_tokens

from recollect_speech.types import BLANK


class Word(NamedTuple):
    """A word, its first step and the one after its last, and its confidence in [0, 1]."""

    text: str
    start: int
    end: int
    confidence: float


def align(log_probs: Tensor, units: Sequence[int], name: Callable[[int], str]) -> list[Word]:
    """The words that ``units`` spell, along their best path through ``log_probs`` ``(T, V)``.

    The confidence of a word is the geometric mean of the probabilities of its units' steps.

    Args:
        log_probs: At each step.
        units: What was recognized.
        name: Writes a unit; one that begins with a blank begins a word.

    Raises:
        ValueError: If there are fewer steps than the units need.

    Example:
        >>> path = torch.tensor([[0.1, 0.9, 0.0], [0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.0, 0.8]]).log()
        >>> [(w.text, w.start, w.end, round(w.confidence, 2)) for w in align(path, [1, 2], " ab".__getitem__)]
        [('ab', 0, 4, 0.87)]
    """
    if not units:
        return []
    needed = len(units) + sum(a == b for a, b in zip(units[1:], units, strict=False))
    if needed > len(log_probs):
        raise ValueError(f"{len(units)} units need {needed} steps, and there are {len(log_probs)}")
    finite = log_probs.clamp_min(-1e4).unsqueeze(0).cpu()
    with torch.device("cpu"):  # torchaudio makes indices of its own
        path, scores = forced_align(finite, torch.tensor([list(units)]), blank=BLANK)
    words: list[tuple[str, int, int, list[float]]] = []
    for span in merge_tokens(path[0], scores[0], BLANK):
        text = name(span.token)
        values = scores[0, span.start : span.end].tolist()
        if words and not text.startswith(" ") and words[-1][0]:
            before, start, _, sure = words[-1]
            words[-1] = (before + text, start, span.end, sure + values)
        elif text == " ":
            words.append(("", span.start, span.end, []))
        else:
            words.append((text.strip(), span.start, span.end, values))
    return [
        Word(text, start, end, math.exp(sum(sure) / len(sure))) for text, start, end, sure in words if text
    ]
