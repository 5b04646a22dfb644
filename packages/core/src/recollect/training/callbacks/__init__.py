"""Callbacks: memory figures and pictures, predictions, interruption."""

from recollect.training.callbacks.interruption import Interrupted, Interruption
from recollect.training.callbacks.memory_monitor import MemoryMonitor
from recollect.training.callbacks.prediction_writer import PredictionWriter

__all__ = ["Interrupted", "Interruption", "MemoryMonitor", "PredictionWriter"]
