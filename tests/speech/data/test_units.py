"""Words, characters and subwords, fitted on the training transcripts."""

import pytest

from recollect.training import DataError
from recollect_speech.data.units import UnitKind, fit_units, normalize_text, restore_units

TEXTS = ["one two", "two three one", "it's three"]


@pytest.mark.parametrize("kind", ["words", "characters", "subwords"])
def test_encoding_and_decoding_the_training_texts(kind: UnitKind) -> None:
    units = fit_units(kind, TEXTS, 20)
    for text in TEXTS:
        spelt = units.encode(text)
        assert all(0 < unit < len(units) for unit in spelt)
        assert units.decode(spelt) == text
        assert "".join(units.name(unit) for unit in spelt).strip() == text
    again = restore_units(kind, units.state())
    assert [again.encode(text) for text in TEXTS] == [units.encode(text) for text in TEXTS]
    assert len(again) == len(units)


@pytest.mark.parametrize("kind", ["words", "characters", "subwords"])
def test_unknown_words_and_characters_are_skipped(kind: UnitKind) -> None:
    units = fit_units(kind, TEXTS, 20)
    assert units.decode(units.encode("two ωωω")).strip() == "two"


def test_too_few_subwords_are_refused() -> None:
    with pytest.raises(DataError, match="cannot train a vocabulary of 3 pieces"):
        fit_units("subwords", TEXTS, 3)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [("  Ask HER, to_bring ", "ask her to bring"), ("It’s 5 o'clock!", "it's 5 o'clock"), ("…", "")],
)
def test_transcripts_are_normalized(text: str, normalized: str) -> None:
    assert normalize_text(text) == normalized
