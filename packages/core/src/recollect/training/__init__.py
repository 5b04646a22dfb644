"""What every application package shares: the command line, the base task, the base data module, callbacks."""

from recollect.training.data import DataModule, Split, data_folder, fetch
from recollect.training.errors import DataError, UserError
from recollect.training.pictures import Picture, ReadPicture
from recollect.training.task import Task
from recollect.training.trained import TrainedRun, load_run

__all__ = [
    "DataError",
    "DataModule",
    "Picture",
    "ReadPicture",
    "Split",
    "Task",
    "TrainedRun",
    "UserError",
    "data_folder",
    "fetch",
    "load_run",
]
