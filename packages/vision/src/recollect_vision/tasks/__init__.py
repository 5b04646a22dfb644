"""Tasks: model, training loss and metrics."""

from recollect_vision.tasks.classification import Classification
from recollect_vision.tasks.few_shot import FewShot
from recollect_vision.tasks.online_few_shot import OnlineFewShot

__all__ = ["Classification", "FewShot", "OnlineFewShot"]
