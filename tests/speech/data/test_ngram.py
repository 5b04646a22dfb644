"""The n-gram model is a distribution, and prefers what it has seen."""

import math

import pytest

from recollect_speech.data.ngram import END, NGram

TEXTS = [[1, 2, 3], [1, 2, 2], [1, 2, 3, 1]]


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("context", [(), (1,), (1, 2), (3, 3, 3), (2, 3, 1, 2)])
def test_the_probabilities_after_any_context_sum_to_one(order: int, context: tuple[int, ...]) -> None:
    model = NGram.fit(TEXTS, order, size=5)
    assert sum(math.exp(model.log_probability(context, unit)) for unit in range(5)) == pytest.approx(1)


def test_witten_bell_by_hand() -> None:
    model = NGram.fit([[1], [1], [2]], order=1, size=3)  # c(1) = 2, c(2) = 1, c(end) = 3; t = 3
    assert math.exp(model.log_probability((), 1)) == pytest.approx((2 + 3 / 3) / 9)
    assert math.exp(model.log_probability((), END)) == pytest.approx((3 + 3 / 3) / 9)


def test_a_longer_context_tells_more() -> None:
    model = NGram.fit(TEXTS, 3, size=5)
    assert model.log_probability((1, 2), 3) > model.log_probability((1, 2), 1)
    assert model.log_probability((), 4) > -math.inf


def test_it_is_restored_as_it_was() -> None:
    model = NGram.fit(TEXTS, 3, size=5)
    again = NGram.restore(model.state())
    assert again.log_probability((1, 2), 3) == model.log_probability((1, 2), 3)
