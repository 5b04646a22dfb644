"""A small world of people, places and objects, told as stories and asked about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

PEOPLE = ("Anna", "Boris", "Clara", "David", "Emma", "Felix")
PLACES = ("kitchen", "garden", "office", "bedroom", "hallway", "cellar")
OBJECTS = ("apple", "book", "lamp", "football")
NUMBERS = ("none", "one", "two", "three", "four")

MOVES = ("went to", "moved to", "travelled to", "journeyed to")
TAKES = ("took", "picked up", "grabbed")
DROPS = ("dropped", "put down", "left")
GIVES = ("gave", "handed", "passed")

Candidate: TypeAlias = tuple[str, str, set[int]]
"""A question, its answer, and the sentences that support it."""


@dataclass
class World:
    """Who is where and has what, as far as the story has told, and which sentence told it.

    People move, take what is at hand, drop it, and give it to somebody in the same place. Nothing holds that
    was not told: a person's place is known after a move, an object's after somebody took it.

    Args:
        random: Decides what happens.

    Example:
        >>> world = World(Random(0))
        >>> for _ in range(3):
        ...     world.happen()
        >>> world.story
        ['David travelled to the kitchen.', 'David picked up the football.', 'David put down the football.']
    """

    random: Random
    story: list[str] = field(default_factory=list)
    place: dict[str, str] = field(default_factory=dict)  # of a person, or of an object that lies somewhere
    moved: dict[str, int] = field(default_factory=dict)  # the sentence that told a person's place
    visited: dict[str, list[str]] = field(default_factory=dict)  # a person's earlier places
    holder: dict[str, str] = field(default_factory=dict)  # of an object that somebody has
    changed: dict[str, set[int]] = field(
        default_factory=dict
    )  # the sentences that tell where a dropped object is
    handled: dict[str, set[int]] = field(default_factory=dict)  # the sentences that changed what a person has

    def happen(self) -> None:
        """Let one thing happen and tell it."""
        events: list[Callable[[], None]] = [self._move] * 4
        pick = self.random.choice
        if at_hand := [(p, o) for p in self.moved for o in OBJECTS if self._at_hand(p, o)]:
            events += [lambda: self._take(*pick(at_hand))] * 2
        if held := sorted(self.holder):
            events.append(lambda: self._drop(pick(held)))
        if meetings := [(o, p) for o in held for p in PEOPLE if self._meets(self.holder[o], p)]:
            events += [lambda: self._give(*pick(meetings))] * 2
        pick(events)()

    def _at_hand(self, person: str, thing: str) -> bool:
        return thing not in self.holder and self.place.get(thing, self.place[person]) == self.place[person]

    def _meets(self, holder: str, person: str) -> bool:
        return person != holder and self.place.get(person) == self.place[holder]

    def _tell(self, *parts: str) -> int:
        self.story.append(" ".join(parts) + ".")
        return len(self.story) - 1

    def _move(self) -> None:
        person = self.random.choice(PEOPLE)
        here = self.place.get(person)
        there = self.random.choice([place for place in PLACES if place != here])
        if here is not None:
            self.visited.setdefault(person, []).append(here)
        self.place[person] = there
        self.moved[person] = self._tell(person, self.random.choice(MOVES), "the", there)

    def _take(self, person: str, thing: str) -> None:
        told = self._tell(person, self.random.choice(TAKES), "the", thing)
        self.place.pop(thing, None)
        self._pass_on(thing, person, told)

    def _give(self, thing: str, person: str) -> None:
        giver = self.holder[thing]
        told = self._tell(giver, self.random.choice(GIVES), "the", thing, "to", person)
        self.handled[giver].add(told)
        self._pass_on(thing, person, told)

    def _pass_on(self, thing: str, person: str, told: int) -> None:
        self.holder[thing] = person
        self.changed[thing] = {told}
        self.handled.setdefault(person, set()).add(told)

    def _drop(self, thing: str) -> None:
        person = self.holder.pop(thing)
        told = self._tell(person, self.random.choice(DROPS), "the", thing)
        self.place[thing] = self.place[person]
        self.changed[thing] = {told, self.moved[person]}
        self.handled[person].add(told)


def where_person(world: World) -> Iterator[Candidate]:
    """Where somebody is: one supporting sentence."""
    for person, told in world.moved.items():
        yield f"Where is {person}?", world.place[person], {told}


def where_object(world: World) -> Iterator[Candidate]:
    """Where an object is: who had it last, and where that person was; two supporting sentences."""
    for thing, told in world.changed.items():
        holder = world.holder.get(thing)
        support = told if holder is None else told | {world.moved[holder]}
        yield f"Where is the {thing}?", world.place[thing if holder is None else holder], support


def who_has(world: World) -> Iterator[Candidate]:
    """Who has an object, if anybody: the sentence in which it last changed hands."""
    for thing, told in world.changed.items():
        yield f"Who has the {thing}?", world.holder.get(thing, "nobody"), {max(told)}


def yes_no(world: World) -> Iterator[Candidate]:
    """Whether somebody is in a place; in the negative, preferably a place left behind."""
    for person, told in world.moved.items():
        here = world.place[person]
        yield f"Is {person} in the {here}?", "yes", {told}
        others = [place for place in world.visited.get(person, PLACES) if place != here] or PLACES
        elsewhere = world.random.choice([place for place in others if place != here])
        yield f"Is {person} in the {elsewhere}?", "no", {told}


def how_many(world: World) -> Iterator[Candidate]:
    """How many objects somebody has: every sentence that changed it."""
    for person, told in world.handled.items():
        count = sum(holder == person for holder in world.holder.values())
        yield f"How many objects does {person} have?", NUMBERS[count], told


KINDS: dict[str, Callable[[World], Iterator[Candidate]]] = {
    "where_person": where_person,
    "where_object": where_object,
    "who_has": who_has,
    "yes_no": yes_no,
    "how_many": how_many,
}
"""The kinds of questions, by the name of their task."""
