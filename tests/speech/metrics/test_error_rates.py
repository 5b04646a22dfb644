"""Edits against a slow reference, and rates by hand."""

import functools
import math

import pytest
import torch

from recollect_speech.metrics.error_rates import ErrorRates, edits


@functools.cache
def fewest(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(fewest(a[1:], b) + 1, fewest(a, b[1:]) + 1, fewest(a[1:], b[1:]) + (a[0] != b[0]))


@pytest.mark.parametrize("seed", range(30))
def test_as_few_edits_as_can_be(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = (
        "".join("abc"[i] for i in torch.randint(3, (int(length),), generator=generator))
        for length in torch.randint(8, (2,), generator=generator)
    )
    found = edits(one, other)
    assert sum(found) == fewest(one, other)
    assert len(one) - found.deletions + found.insertions == len(other)


@pytest.mark.parametrize(
    ("reference", "transcript", "counts"),
    [
        ("a b c", "a x c", (1, 0, 0)),
        ("a b c", "a c", (0, 1, 0)),
        ("a", "a b", (0, 0, 1)),
        ("", "a", (0, 0, 1)),
    ],
)
def test_what_kind_they_are(reference: str, transcript: str, counts: tuple[int, int, int]) -> None:
    assert edits(reference.split(), transcript.split()) == counts


def test_rates_are_over_all_words_not_means_of_rates() -> None:
    rates = ErrorRates()
    rates.update(["one two three four"], ["one two three four"])
    rates.update(["five"], ["nine"])
    values = {name: value.item() for name, value in rates.compute().items()}
    assert values["wer"] == pytest.approx(1 / 5)
    assert values["cer"] == pytest.approx(2 / 22)
    assert values["accuracy"] == 0.5
    assert (values["substitutions"], values["deletions"], values["insertions"]) == (1, 0, 0)
    assert 0 <= values["wer_low"] <= values["wer"] <= values["wer_high"] <= 1


def test_the_interval_is_about_that_of_the_binomial() -> None:
    rates = ErrorRates()
    rates.update(["one"] * 400, ["two"] * 40 + ["one"] * 360)
    values = rates.compute()
    half = 1.96 * math.sqrt(0.1 * 0.9 / 400)
    assert values["wer_low"].item() == pytest.approx(0.1 - half, abs=0.005)
    assert values["wer_high"].item() == pytest.approx(0.1 + half, abs=0.005)


def test_no_recordings() -> None:
    rates = ErrorRates()
    rates.update(["one two"], [""])
    assert rates.compute()["wer"] == 1
    assert rates.compute()["deletions"] == 2
