import pytest
import torch

from recollect.training.text import tokenize
from recollect_nlp.data.vocabulary import NO_ANSWER, PADDING, UNKNOWN, Answers, Vocabulary


def test_words_are_lower_case_without_punctuation_and_keep_what_is_inside_a_word():
    assert tokenize("Where's the well-kept Ägypten-book, no. 7?") == [
        "where's",
        "the",
        "well-kept",
        "ägypten-book",
        "no",
        "7",
    ]
    assert tokenize("  …!? ") == []


def test_ids_of_known_words_differ_from_each_other_and_from_padding_and_unknown():
    vocabulary = Vocabulary.of(["Mary went home.", "mary left."])
    ids = vocabulary.encode("mary went home left")
    assert sorted(ids) == [2, 3, 4, 5]
    assert PADDING not in ids
    assert UNKNOWN not in ids
    assert len(vocabulary) == 6


def test_a_word_that_is_not_in_the_vocabulary_is_unknown_even_if_it_looks_like_a_placeholder():
    vocabulary = Vocabulary.of(["Mary left."])
    assert vocabulary.encode("unknown padding zebra") == [UNKNOWN] * 3
    assert vocabulary.unknown("Mary saw a zebra") == ["saw", "a", "zebra"]
    assert "zebra" not in vocabulary
    assert "mary" in vocabulary


def test_decode_gives_the_words_back_without_padding():
    vocabulary = Vocabulary.of(["Mary left home."])
    assert vocabulary.decode([*vocabulary.encode("home mary"), PADDING, PADDING]) == ["home", "mary"]


def test_a_vocabulary_travels_in_a_checkpoint(tmp_path):
    vocabulary, answers = Vocabulary.of(["Mary left home."]), Answers.of(["b", "a", "a"])
    torch.save({"words": vocabulary.state(), "answers": answers.state()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert Vocabulary(state["words"]).encode("Home left Mary") == vocabulary.encode("Home left Mary")
    assert Answers(state["answers"])[0] == "a"


def test_the_vocabulary_does_not_depend_on_the_order_of_the_texts():
    assert Vocabulary.of(["b a", "c"]).state() == Vocabulary.of(["c", "a b"]).state()


@pytest.mark.parametrize("kind", [Vocabulary, Answers])
def test_a_list_with_a_repeated_item_is_refused(kind):
    with pytest.raises(ValueError, match="'mary' stands twice"):
        kind(["mary", "left", "mary"])


def test_answers_are_whole_and_an_unknown_one_has_no_class():
    answers = Answers.of(["milk", "football,milk", "milk"])
    assert [answers[i] for i in range(len(answers))] == ["milk", "football,milk"]
    assert answers.encode("football") == NO_ANSWER
    assert answers.encode("") == NO_ANSWER
