"""What is trained and measured."""

from recollect_vision.tasks.classification import Classification

__all__ = ["Classification"]
