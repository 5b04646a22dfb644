"""What is trained and measured."""

from recollect_vision.tasks.classification import Classification
from recollect_vision.tasks.few_shot import FewShot

__all__ = ["Classification", "FewShot"]
