"""Callbacks: memory figures and pictures, predictions, interruption, the record of a run."""

from recollect.training.callbacks.interruption import Interrupted, Interruption
from recollect.training.callbacks.memory_monitor import MemoryMonitor
from recollect.training.callbacks.moving_average import MovingAverage
from recollect.training.callbacks.prediction_writer import PredictionWriter
from recollect.training.callbacks.run_record import RunRecord, complete_callbacks

__all__ = [
    "Interrupted",
    "Interruption",
    "MemoryMonitor",
    "MovingAverage",
    "PredictionWriter",
    "RunRecord",
    "complete_callbacks",
]
