"""Synthetic stories about people, places and objects, with questions."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias, final

from recollect_nlp.data.babi_format import Question

PEOPLE = ("Anna", "Boris", "Clara", "David", "Emma", "Felix")
PLACES = ("kitchen", "garden", "office", "bedroom", "hallway", "cellar")
OBJECTS = ("apple", "book", "lamp", "football")
NUMBERS = ("none", "one", "two", "three", "four")

MOVES = ("went to", "moved to", "travelled to", "journeyed to")
TAKES = ("took", "picked up", "grabbed")
DROPS = ("dropped", "put down", "left")
GIVES = ("gave", "handed", "passed")

Candidate: TypeAlias = tuple[str, str, set[int]]
"""A question, its answer, and the indices of the supporting sentences."""


@dataclass
class StoryState:
    """A story and its facts: where people and objects are, who has what, and which sentence says so.

    People move, take objects in the same place, drop them, and give them to somebody in the same place. Only
    what a sentence says holds: a person's place is known after a move, an object's after somebody took it.

    Args:
        random: Random generator of the events.
        story: The sentences.
        place: Place of each person, and of each object that nobody has.
        moved: Index of the sentence that says where a person is.
        visited: Earlier places of each person.
        holder: Person who has an object.
        changed: Indices of the sentences that say where an object is, or who has it.
        handled: Indices of the sentences that changed what a person has.

    Example:
        >>> state = StoryState(Random(0))
        >>> for _ in range(3):
        ...     state.add_event()
        >>> state.story
        ['David travelled to the kitchen.', 'David picked up the football.', 'David put down the football.']
    """

    random: Random
    story: list[str] = field(default_factory=list)
    place: dict[str, str] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    visited: dict[str, list[str]] = field(default_factory=dict)
    holder: dict[str, str] = field(default_factory=dict)
    changed: dict[str, set[int]] = field(default_factory=dict)
    handled: dict[str, set[int]] = field(default_factory=dict)

    def add_event(self) -> None:
        """Add the sentence of a random event."""
        events: list[Callable[[], None]] = [self._move] * 4
        pick = self.random.choice
        if in_reach := [(p, o) for p in self.moved for o in OBJECTS if self._in_reach(p, o)]:
            events += [lambda: self._take(*pick(in_reach))] * 2
        if held := sorted(self.holder):
            events.append(lambda: self._drop(pick(held)))
        if meetings := [(o, p) for o in held for p in PEOPLE if self._meets(self.holder[o], p)]:
            events += [lambda: self._give(*pick(meetings))] * 2
        pick(events)()

    def _in_reach(self, person: str, thing: str) -> bool:
        return thing not in self.holder and self.place.get(thing, self.place[person]) == self.place[person]

    def _meets(self, holder: str, person: str) -> bool:
        return person != holder and self.place.get(person) == self.place[holder]

    def _add(self, *parts: str) -> int:
        self.story.append(" ".join(parts) + ".")
        return len(self.story) - 1

    def _move(self) -> None:
        person = self.random.choice(PEOPLE)
        here = self.place.get(person)
        there = self.random.choice([place for place in PLACES if place != here])
        if here is not None:
            self.visited.setdefault(person, []).append(here)
        self.place[person] = there
        self.moved[person] = self._add(person, self.random.choice(MOVES), "the", there)

    def _take(self, person: str, thing: str) -> None:
        sentence = self._add(person, self.random.choice(TAKES), "the", thing)
        self.place.pop(thing, None)
        self._set_holder(thing, person, sentence)

    def _give(self, thing: str, person: str) -> None:
        giver = self.holder[thing]
        sentence = self._add(giver, self.random.choice(GIVES), "the", thing, "to", person)
        self.handled[giver].add(sentence)
        self._set_holder(thing, person, sentence)

    def _set_holder(self, thing: str, person: str, sentence: int) -> None:
        self.holder[thing] = person
        self.changed[thing] = {sentence}
        self.handled.setdefault(person, set()).add(sentence)

    def _drop(self, thing: str) -> None:
        person = self.holder.pop(thing)
        sentence = self._add(person, self.random.choice(DROPS), "the", thing)
        self.place[thing] = self.place[person]
        self.changed[thing] = {sentence, self.moved[person]}
        self.handled[person].add(sentence)


def where_person(state: StoryState) -> Iterator[Candidate]:
    """Where a person is: one supporting sentence."""
    for person, sentence in state.moved.items():
        yield f"Where is {person}?", state.place[person], {sentence}


def where_object(state: StoryState) -> Iterator[Candidate]:
    """Where an object is: who had it last, and where that person was; two supporting sentences."""
    for thing, sentences in state.changed.items():
        holder = state.holder.get(thing)
        support = sentences if holder is None else sentences | {state.moved[holder]}
        yield f"Where is the {thing}?", state.place[thing if holder is None else holder], support


def who_has(state: StoryState) -> Iterator[Candidate]:
    """Who has an object, or nobody: the sentence in which it last changed hands."""
    for thing, sentences in state.changed.items():
        yield f"Who has the {thing}?", state.holder.get(thing, "nobody"), {max(sentences)}


def yes_no(state: StoryState) -> Iterator[Candidate]:
    """Whether a person is in a place; if not, preferably an earlier place of that person."""
    for person, sentence in state.moved.items():
        here = state.place[person]
        yield f"Is {person} in the {here}?", "yes", {sentence}
        others = [place for place in state.visited.get(person, PLACES) if place != here] or PLACES
        elsewhere = state.random.choice([place for place in others if place != here])
        yield f"Is {person} in the {elsewhere}?", "no", {sentence}


def how_many(state: StoryState) -> Iterator[Candidate]:
    """How many objects a person has: all sentences that changed it."""
    for person, sentences in state.handled.items():
        count = sum(holder == person for holder in state.holder.values())
        yield f"How many objects does {person} have?", NUMBERS[count], sentences


QUESTION_TYPES: dict[str, Callable[[StoryState], Iterator[Candidate]]] = {
    "where_person": where_person,
    "where_object": where_object,
    "who_has": who_has,
    "yes_no": yes_no,
    "how_many": how_many,
}
"""The types of questions, by the name of their task."""


@final
class StoryGenerator:
    """Generates stories that differ before their first question, with all types of questions in balance.

    Args:
        seed: Random seed.
        sentences: Number of sentences per story.
        questions: Number of questions per story, evenly spaced.

    Raises:
        ValueError: If ``questions`` is not positive, or there are fewer than three sentences per question.

    Example:
        >>> first, *others = StoryGenerator(seed=0).generate(stories=100)
        >>> first.story[0], first.question, first.answer, first.supporting, first.task
        ('David travelled to the kitchen.', 'Is David in the kitchen?', 'yes', (0,), 'yes_no')
    """

    def __init__(self, seed: int = 0, sentences: int = 12, questions: int = 4) -> None:
        if questions < 1 or sentences < 3 * questions:
            raise ValueError(
                f"{questions} questions about stories of {sentences} sentences: "
                "at least one question and three sentences per question are needed"
            )
        self.sentences = sentences
        self.questions = questions
        self._random = Random(seed)
        self._beginnings: set[tuple[str, ...]] = set()
        self._counts: Counter[str] = Counter()
        self._number = 0

    def generate(self, stories: int) -> list[Question]:
        """Return the questions about ``stories`` further stories, all different from earlier ones."""
        return [question for _ in range(stories) for question in self._generate_story()]

    def _generate_story(self) -> list[Question]:
        while True:  # starts again if the story begins like an earlier one, which is rare
            state = StoryState(self._random)
            questions: list[Question] = []
            lines: list[int] = []
            for count in range(1, self.sentences + 1):
                state.add_event()
                lines.append(count + len(questions))
                if count * self.questions // self.sentences > len(questions):
                    questions.append(self._question(state, lines))
            beginnings = {question.story for question in questions}
            if not beginnings & self._beginnings:
                break
        self._beginnings |= beginnings
        self._counts.update(str(question.task) for question in questions)
        self._number += 1
        return questions

    def _question(self, state: StoryState, lines: list[int]) -> Question:
        """Draw a question of the least frequent type, with each possible answer equally likely."""
        candidates = {kind: list(make(state)) for kind, make in QUESTION_TYPES.items()}
        kinds = [kind for kind in QUESTION_TYPES if candidates[kind]]
        task = min(kinds, key=lambda kind: (self._counts[kind], self._random.random()))
        answer = self._random.choice(sorted({answer for _, answer, _ in candidates[task]}))
        question, _, supporting = self._random.choice([c for c in candidates[task] if c[1] == answer])
        return Question(
            story=tuple(state.story),
            question=question,
            answer=answer,
            supporting=tuple(sorted(supporting)),
            line=lines[-1] + 1,
            source="generated stories",
            task=task,
            number=self._number,
            lines=tuple(lines),
        )
