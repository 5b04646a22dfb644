"""Question answering about synthetic stories: the dataset that needs no download."""

from functools import cached_property
from typing import Any, final

from recollect.validation import check_positive
from recollect_nlp.data.babi_format import Question
from recollect_nlp.data.question_answering import AnsweredSplit, QuestionData
from recollect_nlp.data.synthetic_stories import QUESTION_TYPES, StoryGenerator


@final
class StoryData(QuestionData):
    """Synthetic stories of people who move, and take, drop and give objects.

    The questions are of five types in equal numbers: where a person is (one supporting sentence), where an
    object is (two), who has an object, yes or no, and how many objects a person has. Stories of different
    splits differ before their first question, so no test story was seen in training. Validation and test
    stories do not depend on ``stories``.

    Args:
        stories: Number of training stories.
        held_out: Number of validation stories, and of test stories.
        sentences: Number of sentences per story.
        questions_per_story: Number of questions per story, evenly spaced.
        story_seed: Seed of the stories.
        kwargs: As in ``QuestionData``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> data = StoryData(stories=10, held_out=2)
        >>> len(data.questions("train")), len(data.questions("test")), data.tasks[0]
        (30, 6, 'where_person')
    """

    def __init__(
        self,
        stories: int = 6_000,
        held_out: int = 300,
        sentences: int = 9,
        questions_per_story: int = 3,
        story_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive(stories=stories, held_out=held_out)
        self.stories = stories
        self.held_out = held_out
        self._generator = StoryGenerator(story_seed, sentences, questions_per_story)

    @property
    def built_in_tasks(self) -> list[str]:
        """The five types of questions."""
        return list(QUESTION_TYPES)

    def built_in(self, split: AnsweredSplit) -> list[Question]:
        """The questions of a split."""
        return self._splits[split]

    @cached_property
    def _splits(self) -> dict[AnsweredSplit, list[Question]]:
        test, val = self._generator.generate(self.held_out), self._generator.generate(self.held_out)
        return {"train": self._generator.generate(self.stories), "val": val, "test": test}
