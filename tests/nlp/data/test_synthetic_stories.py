"""The generated stories, held to a second reading of their text that knows nothing of how they were made."""

from collections import Counter

import pytest

from recollect_nlp.data.story_world import DROPS, GIVES, KINDS, MOVES, NUMBERS, TAKES
from recollect_nlp.data.storyteller import Storyteller


def read(sentences):
    """Where each person and each thing is, and who has what, from the text alone."""
    place, holder = {}, {}
    for sentence in sentences:
        person, rest = sentence.rstrip(".").split(" ", 1)
        verb, _, noun = rest.partition(" the ")
        if verb in MOVES:
            place[person] = noun
        elif verb in TAKES:
            holder[noun] = person
            place.pop(noun, None)
        elif verb in DROPS:
            holder.pop(noun, None)
            place[noun] = place.get(person)
        else:
            assert verb in GIVES
            thing, _, receiver = noun.partition(" to ")
            holder[thing] = receiver
    return place, holder


def answer(sentences, question):
    place, holder = read(sentences)
    asked = question.rstrip("?").split()
    thing = asked[-1]
    if question.startswith("Where is the"):
        return place[holder[thing]] if thing in holder else place[thing]
    if question.startswith("Where is"):
        return place[thing]
    if question.startswith("Who has"):
        return holder.get(thing, "nobody")
    if question.startswith("Is"):
        return "yes" if place[asked[1]] == thing else "no"
    assert question.startswith("How many objects does")
    return NUMBERS[sum(person == asked[4] for person in holder.values())]


@pytest.fixture(scope="module")
def questions():
    return Storyteller(seed=3, sentences=12, questions=4).tell(300)


def test_every_answer_follows_from_its_story(questions):
    for question in questions:
        assert answer(question.story, question.question) == question.answer


def test_the_supporting_sentences_suffice_for_the_answer(questions):
    for question in questions:
        assert question.supporting == tuple(sorted(set(question.supporting)))
        told = [question.story[i] for i in question.supporting]
        assert answer(told, question.question) == question.answer, question


def test_no_supporting_sentence_is_superfluous_where_one_or_two_are_promised(questions):
    sizes = {kind: {len(q.supporting) for q in questions if q.task == kind} for kind in KINDS}
    assert sizes["where_person"] == sizes["yes_no"] == sizes["who_has"] == {1}
    assert sizes["where_object"] == {2}


def test_the_world_is_consistent(questions):
    """Nobody takes what is elsewhere or in other hands, or drops or gives what is not theirs."""
    for story in {question.story for question in questions}:
        for i, sentence in enumerate(story):
            place, holder = read(story[:i])
            person, rest = sentence.rstrip(".").split(" ", 1)
            verb, _, noun = rest.partition(" the ")
            if verb in MOVES:
                assert place.get(person) != noun
            elif verb in TAKES:
                assert noun not in holder
                assert place.get(noun, place[person]) == place[person]
            elif verb in DROPS:
                assert holder[noun] == person
            else:
                thing, _, receiver = noun.partition(" to ")
                assert holder[thing] == person != receiver
                assert place[person] == place[receiver]


def test_all_kinds_of_events_and_questions_occur_in_balance(questions):
    kinds = Counter(question.task for question in questions)
    assert set(kinds) == set(KINDS)
    assert max(kinds.values()) - min(kinds.values()) <= 10
    yes = Counter(question.answer for question in questions if question.task == "yes_no")
    assert 0.4 < yes["yes"] / yes.total() < 0.6
    nobody = Counter(question.answer for question in questions if question.task == "who_has")["nobody"]
    assert nobody > 20
    verbs = " ".join(sentence for question in questions for sentence in question.story)
    assert all(verb in verbs for verb in (*MOVES, *TAKES, *DROPS, *GIVES))


def test_the_most_frequent_answer_of_each_kind_is_far_from_enough(questions):
    right = 0
    for kind in KINDS:
        right += Counter(q.answer for q in questions if q.task == kind).most_common(1)[0][1]
    assert right / len(questions) < 0.45


def test_the_same_seed_tells_the_same_stories_and_another_does_not(questions):
    assert Storyteller(seed=3, sentences=12, questions=4).tell(300) == questions
    assert Storyteller(seed=4, sentences=12, questions=4).tell(300) != questions


def test_stories_differ_before_their_first_question(questions):
    asked = [question for question in questions if len(question.story) == 3]
    assert len(asked) == 300 == len({question.story for question in asked})


def test_lines_number_sentences_and_questions_as_in_a_file(questions):
    first = [question for question in questions if question.number == questions[0].number]
    assert [question.line for question in first] == [4, 8, 12, 16]
    assert first[1].lines == (1, 2, 3, 5, 6, 7)


@pytest.mark.parametrize(("sentences", "asked"), [(12, 0), (5, 2), (0, 1)])
def test_too_little_to_ask_about_is_refused(sentences, asked):
    with pytest.raises(ValueError, match=f"{asked} questions about stories of {sentences} sentences"):
        Storyteller(sentences=sentences, questions=asked)
