"""Stories of a small world with questions about them, as many as one likes."""

from collections import Counter
from random import Random
from typing import final

from recollect_nlp.data.babi_format import Question
from recollect_nlp.data.story_world import KINDS, World


@final
class Storyteller:
    """Tells stories that differ before their first question, with all kinds of questions in balance.

    Args:
        seed: Decides the stories: the same seed tells the same stories in the same order.
        sentences: Sentences of a story.
        questions: Questions about a story, asked at even intervals while it is told.

    Raises:
        ValueError: If there is no question, or fewer than three sentences to each.

    Example:
        >>> first, *others = Storyteller(seed=0).tell(stories=100)
        >>> first.story[0], first.question, first.answer, first.supporting, first.task
        ('David travelled to the kitchen.', 'Is David in the kitchen?', 'yes', (0,), 'yes_no')
    """

    def __init__(self, seed: int = 0, sentences: int = 12, questions: int = 4) -> None:
        if questions < 1 or sentences < 3 * questions:
            raise ValueError(
                f"{questions} questions about stories of {sentences} sentences: "
                "there must be at least one question, and three sentences to each."
            )
        self.sentences = sentences
        self.questions = questions
        self._random = Random(seed)
        self._told: set[tuple[str, ...]] = set()
        self._asked: Counter[str] = Counter()
        self._number = 0

    def tell(self, stories: int) -> list[Question]:
        """The questions about so many further stories, none of which was told before."""
        return [question for _ in range(stories) for question in self._tell_one()]

    def _tell_one(self) -> list[Question]:
        while True:  # a story that begins like an earlier one is told afresh, which is rare
            world = World(self._random)
            asked: list[Question] = []
            lines: list[int] = []
            for told in range(1, self.sentences + 1):
                world.happen()
                lines.append(told + len(asked))
                if told * self.questions // self.sentences > len(asked):
                    asked.append(self._ask(world, lines))
            begun = {question.story for question in asked}
            if not begun & self._told:
                break
        self._told |= begun
        self._asked.update(str(question.task) for question in asked)
        self._number += 1
        return asked

    def _ask(self, world: World, lines: list[int]) -> Question:
        """Ask the kind of question that was asked least, with each possible answer equally likely."""
        candidates = {kind: list(ask(world)) for kind, ask in KINDS.items()}
        kinds = [kind for kind in KINDS if candidates[kind]]
        task = min(kinds, key=lambda kind: (self._asked[kind], self._random.random()))
        answer = self._random.choice(sorted({answer for _, answer, _ in candidates[task]}))
        question, _, told = self._random.choice([c for c in candidates[task] if c[1] == answer])
        return Question(
            story=tuple(world.story),
            question=question,
            answer=answer,
            supporting=tuple(sorted(told)),
            line=lines[-1] + 1,
            source="generated stories",
            task=task,
            number=self._number,
            lines=tuple(lines),
        )
