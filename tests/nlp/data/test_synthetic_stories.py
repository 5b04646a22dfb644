"""Synthetic stories, checked by an independent reader of their text."""

from collections import Counter

import pytest

from recollect_nlp.data.synthetic_stories import (
    DROPS,
    GIVES,
    MOVES,
    NUMBERS,
    QUESTION_TYPES,
    TAKES,
    StoryGenerator,
)


def read(sentences):
    """Place of each person and object, and holder of each object, from the text."""
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
    tokens = question.rstrip("?").split()
    thing = tokens[-1]
    if question.startswith("Where is the"):
        return place[holder[thing]] if thing in holder else place[thing]
    if question.startswith("Where is"):
        return place[thing]
    if question.startswith("Who has"):
        return holder.get(thing, "nobody")
    if question.startswith("Is"):
        return "yes" if place[tokens[1]] == thing else "no"
    assert question.startswith("How many objects does")
    return NUMBERS[sum(person == tokens[4] for person in holder.values())]


@pytest.fixture(scope="module")
def questions():
    return StoryGenerator(seed=3, sentences=12, questions=4).generate(300)


def test_every_answer_follows_from_the_story(questions):
    for question in questions:
        assert answer(question.story, question.question) == question.answer


def test_the_supporting_sentences_suffice(questions):
    for question in questions:
        assert question.supporting == tuple(sorted(set(question.supporting)))
        supporting = [question.story[i] for i in question.supporting]
        assert answer(supporting, question.question) == question.answer, question


def test_number_of_supporting_sentences(questions):
    sizes = {kind: {len(q.supporting) for q in questions if q.task == kind} for kind in QUESTION_TYPES}
    assert sizes["where_person"] == sizes["yes_no"] == sizes["who_has"] == {1}
    assert sizes["where_object"] == {2}


def test_events_are_consistent(questions):
    """People take only free objects in the same place, and drop and give only their own."""
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


def test_types_of_events_and_questions_are_balanced(questions):
    kinds = Counter(question.task for question in questions)
    assert set(kinds) == set(QUESTION_TYPES)
    assert max(kinds.values()) - min(kinds.values()) <= 10
    yes = Counter(question.answer for question in questions if question.task == "yes_no")
    assert 0.4 < yes["yes"] / yes.total() < 0.6
    nobody = Counter(question.answer for question in questions if question.task == "who_has")["nobody"]
    assert nobody > 20
    verbs = " ".join(sentence for question in questions for sentence in question.story)
    assert all(verb in verbs for verb in (*MOVES, *TAKES, *DROPS, *GIVES))


def test_the_most_frequent_answers_score_low(questions):
    right = 0
    for kind in QUESTION_TYPES:
        right += Counter(q.answer for q in questions if q.task == kind).most_common(1)[0][1]
    assert right / len(questions) < 0.45


def test_stories_are_a_function_of_the_seed(questions):
    assert StoryGenerator(seed=3, sentences=12, questions=4).generate(300) == questions
    assert StoryGenerator(seed=4, sentences=12, questions=4).generate(300) != questions


def test_stories_differ_before_their_first_question(questions):
    first = [question for question in questions if len(question.story) == 3]
    assert len(first) == 300 == len({question.story for question in first})


def test_lines_are_numbered_as_in_a_file(questions):
    first = [question for question in questions if question.number == questions[0].number]
    assert [question.line for question in first] == [4, 8, 12, 16]
    assert first[1].lines == (1, 2, 3, 5, 6, 7)


@pytest.mark.parametrize(("sentences", "count"), [(12, 0), (5, 2), (0, 1)])
def test_too_few_sentences_per_question_are_an_error(sentences, count):
    with pytest.raises(ValueError, match=f"{count} questions about stories of {sentences} sentences"):
        StoryGenerator(sentences=sentences, questions=count)
