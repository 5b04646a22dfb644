"""What is trained and measured."""

from recollect_speech.tasks.recognition import Recognition

__all__ = ["Recognition"]
