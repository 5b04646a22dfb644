"""CTC decoding: best path, and prefix beam search with a language model."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recollect_speech.types import BLANK

UNLIKELY = -12.0
"""Beam search skips units whose log-probability at a step is below this."""

LanguageModel = Callable[[tuple[int, ...], int], float]
"""log P(unit | previous units); unit 0 is the end of the text."""


def greedy(log_probs: Tensor, lengths: Tensor) -> list[list[int]]:
    """Best path of each item of ``(B, T, V)`` without repeats and blanks (Graves et al. 2006, ICML).

    Example:
        >>> path = torch.nn.functional.one_hot(torch.tensor([[1, 1, 0, 1, 2]]), 3).float().log()
        >>> greedy(path, torch.tensor([5]))
        [[1, 1, 2]]
    """
    paths = log_probs.argmax(-1)
    return [
        [int(u) for u in torch.unique_consecutive(path[:length]) if u != BLANK]
        for path, length in zip(paths, lengths, strict=True)
    ]


class Beam(NamedTuple):
    """Settings of ``beam_search``.

    Attributes:
        width: Number of prefixes that are kept at each step.
        weight: Weight of the language model's log-probability.
        bonus: Bonus per unit, as a language model prefers short texts.
    """

    width: int = 8
    weight: float = 0.5
    bonus: float = 0.0


class Prefix(NamedTuple):
    """Log-probabilities of a prefix: ending in a blank, in its last unit, and of its text."""

    blank: float
    unit: float
    text: float

    @property
    def ctc(self) -> float:
        """CTC log-probability of the prefix."""
        return _logaddexp(self.blank, self.unit)


def beam_search(log_probs: Tensor, beam: Beam, language: LanguageModel | None = None) -> list[int]:
    """The most probable units given ``log_probs`` ``(T, V)`` and a language model.

    argmax_u log P_ctc(u) + weight · log P_text(u) + bonus · |u|, where P_ctc sums over all paths
    (Hannun et al. 2014, arXiv:1408.2873, algorithm 1).

    Example:
        >>> steps = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()  # the best path is blank, not the best text
        >>> greedy(steps[None], torch.tensor([2])), beam_search(steps, Beam())
        ([[]], [1])
    """
    prefixes: dict[tuple[int, ...], Prefix] = {(): Prefix(0.0, -math.inf, 0.0)}
    for step in log_probs.tolist():
        likely = [unit for unit, value in enumerate(step) if value > UNLIKELY and unit != BLANK]
        prefixes = _extend(prefixes, step, likely, beam, language)
    ends = {
        units: prefix.ctc + prefix.text + (beam.weight * language(units, BLANK) if language else 0.0)
        for units, prefix in prefixes.items()
    }
    best, _ = max(ends.items(), key=lambda end: end[1])
    return list(best)


def _extend(
    prefixes: dict[tuple[int, ...], Prefix],
    step: Sequence[float],
    likely: Sequence[int],
    beam: Beam,
    language: LanguageModel | None,
) -> dict[tuple[int, ...], Prefix]:
    """The best prefixes after one more step."""
    blanks: dict[tuple[int, ...], float] = defaultdict(lambda: -math.inf)
    units: dict[tuple[int, ...], float] = defaultdict(lambda: -math.inf)
    texts: dict[tuple[int, ...], float] = {}
    for prefix, before in prefixes.items():
        texts[prefix] = before.text
        blanks[prefix] = _logaddexp(blanks[prefix], before.ctc + step[BLANK])
        if prefix:
            units[prefix] = _logaddexp(units[prefix], before.unit + step[prefix[-1]])
        for unit in likely:
            longer = (*prefix, unit)
            # A repeated unit is a new one only after a blank.
            source = before.blank if prefix and unit == prefix[-1] else before.ctc
            units[longer] = _logaddexp(units[longer], source + step[unit])
            if longer not in texts:
                added = beam.weight * language(prefix, unit) if language else 0.0
                texts[longer] = before.text + added + beam.bonus
    found = {prefix: Prefix(blanks[prefix], units[prefix], text) for prefix, text in texts.items()}
    best = sorted(found, key=lambda prefix: -(found[prefix].ctc + found[prefix].text))[: beam.width]
    return {prefix: found[prefix] for prefix in best}


def _logaddexp(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))
