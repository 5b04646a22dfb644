"""The best path, and the sum over all paths."""

import itertools
import math
from collections import defaultdict

import pytest
import torch

from recollect_speech.models.decoding import Beam, beam_search, greedy


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(unit for unit, _ in itertools.groupby(path) if unit)


def every_path(log_probs: torch.Tensor) -> dict[tuple[int, ...], float]:
    total: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        total[collapse(path)] += math.exp(sum(log_probs[t, unit].item() for t, unit in enumerate(path)))
    return total


@pytest.mark.parametrize("seed", range(20))
def test_a_wide_beam_finds_the_most_probable_text_of_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (2 * torch.randn(5, 3, generator=generator)).log_softmax(-1)
    total = every_path(log_probs)
    assert tuple(beam_search(log_probs, Beam(width=200))) == max(total, key=lambda text: total[text])


@pytest.mark.parametrize("seed", range(10))
def test_with_a_language_model_and_a_bonus(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (2 * torch.randn(4, 3, generator=generator)).log_softmax(-1)

    def language(before: tuple[int, ...], unit: int) -> float:
        return math.log([0.2, 0.5, 0.3][unit] if not before or before[-1] != unit else 0.1)

    beam = Beam(width=200, weight=0.7, bonus=0.4)
    total = every_path(log_probs)

    def score(text: tuple[int, ...]) -> float:
        text_score = sum(language(text[:i], unit) for i, unit in enumerate(text)) + language(text, 0)
        return math.log(total[text]) + beam.weight * text_score + beam.bonus * len(text)

    assert tuple(beam_search(log_probs, beam, language)) == max(total, key=score)


def test_the_best_path_leaves_out_repeats_and_blanks_and_what_lies_beyond_the_length() -> None:
    path = torch.nn.functional.one_hot(
        torch.tensor([[0, 2, 2, 0, 2, 1, 1], [1, 1, 1, 1, 2, 2, 2]]), 3
    ).float()
    assert greedy(path, torch.tensor([7, 4])) == [[2, 2, 1], [1]]
    assert greedy(path, torch.tensor([0, 0])) == [[], []]


def test_no_steps() -> None:
    assert beam_search(torch.zeros(0, 3), Beam()) == []
