"""Words with their times and confidences."""

import pytest
import torch

from recollect_speech.models.alignment import align

NAMES = ["", " one", " two", "s"]


def path(*units: int, sure: float = 0.9) -> torch.Tensor:
    probs = torch.full((len(units), 4), (1 - sure) / 3)
    probs[torch.arange(len(units)), torch.tensor(units)] = sure
    return probs.log()


def test_each_word_has_its_steps() -> None:
    words = align(path(0, 1, 1, 0, 0, 2, 3, 0), [1, 2, 3], NAMES.__getitem__)
    assert [(word.text, word.start, word.end) for word in words] == [("one", 1, 3), ("twos", 5, 7)]
    assert [word.confidence for word in words] == pytest.approx([0.9, 0.9])


def test_what_is_doubtful_is_less_sure() -> None:
    doubtful = torch.cat([path(1), path(0), path(2, sure=0.4)])
    sure, unsure = align(doubtful, [1, 2], NAMES.__getitem__)
    assert sure.confidence == pytest.approx(0.9)
    assert unsure.confidence == pytest.approx(0.4)


def test_the_same_word_twice_is_two_words() -> None:
    assert len(align(path(1, 0, 1), [1, 1], NAMES.__getitem__)) == 2


def test_blanks_among_characters_part_words() -> None:
    names = ["", " ", "a", "b"]
    words = align(path(2, 3, 1, 2), [2, 3, 1, 2], names.__getitem__)
    assert [(word.text, word.start, word.end) for word in words] == [("ab", 0, 2), ("a", 3, 4)]


def test_nothing_and_too_much() -> None:
    assert align(path(0), [], NAMES.__getitem__) == []
    with pytest.raises(ValueError, match="2 units need 3 steps, got 2"):
        align(path(1, 1), [1, 1], NAMES.__getitem__)
