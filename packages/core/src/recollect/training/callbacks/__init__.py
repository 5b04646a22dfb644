"""Callbacks: progress, memory metrics and figures, predictions, signals, the record of a run."""

from recollect.training.callbacks.memory_monitor import MemoryMonitor
from recollect.training.callbacks.moving_average import MovingAverage
from recollect.training.callbacks.parts_summary import PartsSummary
from recollect.training.callbacks.prediction_writer import PredictionWriter
from recollect.training.callbacks.progress import EpochProgress, screen_callbacks
from recollect.training.callbacks.resuming import Resuming
from recollect.training.callbacks.run_record import RunRecord, complete_callbacks, tested_checkpoint
from recollect.training.callbacks.signals import CheckpointOnSignal, Interrupted

__all__ = [
    "CheckpointOnSignal",
    "EpochProgress",
    "Interrupted",
    "MemoryMonitor",
    "MovingAverage",
    "PartsSummary",
    "PredictionWriter",
    "Resuming",
    "RunRecord",
    "complete_callbacks",
    "screen_callbacks",
    "tested_checkpoint",
]
