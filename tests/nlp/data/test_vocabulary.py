import pytest
import torch

from recollect.training.text import tokenize
from recollect_nlp.data.vocabulary import Answers, Vocabulary
from recollect_nlp.types import NO_ANSWER, PAD, UNK


def test_words_are_lower_case_without_punctuation():
    assert tokenize("Where's the well-kept Ägypten-book, no. 7?") == [
        "where's",
        "the",
        "well-kept",
        "ägypten-book",
        "no",
        "7",
    ]
    assert tokenize("  …!? ") == []


def test_ids_of_known_words_are_distinct():
    vocabulary = Vocabulary.of(["Mary went home.", "mary left."])
    ids = vocabulary.encode("mary went home left")
    assert sorted(ids) == [2, 3, 4, 5]
    assert PAD not in ids
    assert UNK not in ids
    assert len(vocabulary) == 6


def test_words_that_look_like_placeholders_are_unknown():
    vocabulary = Vocabulary.of(["Mary left."])
    assert vocabulary.encode("unknown padding zebra") == [UNK] * 3
    assert vocabulary.unknown("Mary saw a zebra") == ["saw", "a", "zebra"]
    assert "zebra" not in vocabulary
    assert "mary" in vocabulary


def test_decode_returns_words_without_padding():
    vocabulary = Vocabulary.of(["Mary left home."])
    assert vocabulary.decode([*vocabulary.encode("home mary"), PAD, PAD]) == ["home", "mary"]


def test_a_vocabulary_is_saved_and_restored(tmp_path):
    vocabulary, answers = Vocabulary.of(["Mary left home."]), Answers.of(["b", "a", "a"])
    torch.save({"words": vocabulary.state(), "answers": answers.state()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert Vocabulary(state["words"]).encode("Home left Mary") == vocabulary.encode("Home left Mary")
    assert Answers(state["answers"])[0] == "a"


def test_the_vocabulary_does_not_depend_on_the_order_of_the_texts():
    assert Vocabulary.of(["b a", "c"]).state() == Vocabulary.of(["c", "a b"]).state()


@pytest.mark.parametrize("kind", [Vocabulary, Answers])
def test_duplicate_items_are_an_error(kind):
    with pytest.raises(ValueError, match="duplicate item 'mary'"):
        kind(["mary", "left", "mary"])


def test_a_list_is_one_answer_and_unknown_answers_have_no_class():
    answers = Answers.of(["milk", "football,milk", "milk"])
    assert [answers[i] for i in range(len(answers))] == ["milk", "football,milk"]
    assert answers.encode("football") == NO_ANSWER
    assert answers.encode("") == NO_ANSWER
