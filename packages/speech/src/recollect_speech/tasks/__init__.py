"""What is trained and measured."""

from recollect_speech.tasks.keywords import KeywordSpotting
from recollect_speech.tasks.recognition import Recognition

__all__ = ["KeywordSpotting", "Recognition"]
