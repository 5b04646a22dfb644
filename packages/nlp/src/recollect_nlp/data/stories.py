"""Question answering over generated stories: the data set that comes with the package."""

from functools import cached_property
from typing import Any, final

from recollect_nlp.data.babi_format import Question
from recollect_nlp.data.question_data import AnsweredSplit, QuestionData
from recollect_nlp.data.story_world import KINDS
from recollect_nlp.data.storyteller import Storyteller


@final
class StoryData(QuestionData):
    """Stories of people who move about, take, drop and give objects; nothing is downloaded.

    The questions are of five kinds in equal numbers: where a person is (one supporting sentence), where an
    object is (two), who has an object, yes or no, and how many objects a person has. No story of one split
    begins like one of another up to its first question, so nothing that is tested was seen in training;
    validation and test stories stay the same when ``stories`` changes.

    Args:
        stories: Stories to train on.
        held_out: Stories in the validation split, and as many in the test split.
        sentences: Sentences of a story.
        questions_each: Questions about a story, asked at even intervals while it is told.
        story_seed: Decides the stories.
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
        questions_each: int = 3,
        story_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if stories < 1 or held_out < 1:
            raise ValueError(f"stories and held_out must be at least 1, not {stories} and {held_out}.")
        self.stories = stories
        self.held_out = held_out
        self._teller = Storyteller(story_seed, sentences, questions_each)

    @property
    def built_in_tasks(self) -> list[str]:
        """The five kinds of questions."""
        return list(KINDS)

    def built_in(self, split: AnsweredSplit) -> list[Question]:
        """The questions of a split."""
        return self._told[split]

    @cached_property
    def _told(self) -> dict[AnsweredSplit, list[Question]]:
        test, val = self._teller.tell(self.held_out), self._teller.tell(self.held_out)
        return {"train": self._teller.tell(self.stories), "val": val, "test": test}
