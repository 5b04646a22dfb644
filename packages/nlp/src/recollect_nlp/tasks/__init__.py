"""The tasks, one ``LightningModule`` per file."""

from recollect_nlp.tasks.question_answering import QuestionAnswering
from recollect_nlp.tasks.translation import Translation

__all__ = ["QuestionAnswering", "Translation"]
