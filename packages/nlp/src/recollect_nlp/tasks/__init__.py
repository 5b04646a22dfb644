"""What is trained and measured."""

from recollect_nlp.tasks.question_answering import QuestionAnswering

__all__ = ["QuestionAnswering"]
