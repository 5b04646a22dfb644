"""Setting stories aside for validation and test."""

import random
from collections.abc import Sequence

from recollect.training import DataError
from recollect_nlp.data.babi_format import Question


def set_aside(
    questions: Sequence[Question], share: float, seed: int
) -> tuple[list[Question], list[Question]]:
    """Part the questions into those to keep and those set aside, by whole stories and task by task.

    The stories of each task are put in a random order that ``seed`` decides; the last ``share`` of them, at
    least one, is set aside. Both parts keep the order of the file.

    Raises:
        DataError: If a task has a single story, of which nothing can be set aside.

    Example:
        >>> ask = Question(("Mary left.",), "Who left?", "Mary", (0,), 2, "my.txt", number=0)
        >>> kept, aside = set_aside([ask, ask._replace(number=1), ask._replace(number=2)], share=0.1, seed=0)
        >>> len(kept), len(aside)
        (2, 1)
    """
    stories: dict[str | None, list[tuple[str, int]]] = {}
    for question in questions:
        told = stories.setdefault(question.task, [])
        story = (question.source, question.number)
        if not told or told[-1] != story:
            told.append(story)
    aside: set[tuple[str | None, tuple[str, int]]] = set()
    for task, told in stories.items():
        if len(told) < 2:
            raise DataError(
                f"{told[0][0]} has a single story: too few to set some aside for validation or test."
            )
        random.Random(seed).shuffle(told)
        aside |= {(task, story) for story in told[-max(1, round(share * len(told))) :]}
    parts: tuple[list[Question], list[Question]] = ([], [])
    for question in questions:
        parts[(question.task, (question.source, question.number)) in aside].append(question)
    return parts
