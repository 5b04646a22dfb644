"""The tasks: one ``LightningModule`` per file."""

from recollect_speech.tasks.keywords import KeywordSpotting
from recollect_speech.tasks.recognition import Recognition

__all__ = ["KeywordSpotting", "Recognition"]
