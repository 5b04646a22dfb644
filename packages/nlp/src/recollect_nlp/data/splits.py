"""Stories that are held out for validation and test."""

from collections.abc import Sequence

from recollect.training import DataError
from recollect.training.splits import hold_out_groups
from recollect_nlp.data.babi_format import Question


def hold_out_stories(
    questions: Sequence[Question], share: float, seed: int
) -> tuple[list[Question], list[Question]]:
    """Split questions in two by whole stories: of each task, a random ``share`` of the stories is held out.

    Both parts keep the order of the file.

    Raises:
        DataError: If a task has a single story.

    Example:
        >>> ask = Question(("Mary left.",), "Who left?", "Mary", (0,), 2, "my.txt", number=0)
        >>> questions = [ask, ask._replace(number=1), ask._replace(number=2)]
        >>> kept, held_out = hold_out_stories(questions, share=0.1, seed=0)
        >>> len(kept), len(held_out)
        (2, 1)
    """
    stories: dict[str | None, list[tuple[str, int]]] = {}
    for question in questions:
        of_task = stories.setdefault(question.task, [])
        story = (question.source, question.number)
        if not of_task or of_task[-1] != story:
            of_task.append(story)
    held_out = set()
    for task, of_task in stories.items():
        if len(of_task) < 2:
            raise DataError(
                f"{of_task[0][0]} has a single story: too few to hold some out for validation or test."
            )
        held_out |= {(task, story) for story in hold_out_groups(of_task, share, seed)}
    parts: tuple[list[Question], list[Question]] = ([], [])
    for question in questions:
        parts[(question.task, (question.source, question.number)) in held_out].append(question)
    return parts
