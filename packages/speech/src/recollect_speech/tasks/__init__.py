"""What is trained and measured."""

from recollect_speech.tasks.recognition import Recognition
from recollect_speech.tasks.word_recognition import KeywordSpotting

__all__ = ["KeywordSpotting", "Recognition"]
