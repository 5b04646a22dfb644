"""The parts that all application packages share: command line, base task, base data module, callbacks."""

from recollect.training.data import DataModule, Split, data_folder, fetch
from recollect.training.errors import DataError, UserError
from recollect.training.figures import NamedFigure, ReadHeatmap
from recollect.training.load import TrainedRun, load_run
from recollect.training.task import Task

__all__ = [
    "DataError",
    "DataModule",
    "NamedFigure",
    "ReadHeatmap",
    "Split",
    "Task",
    "TrainedRun",
    "UserError",
    "data_folder",
    "fetch",
    "load_run",
]
