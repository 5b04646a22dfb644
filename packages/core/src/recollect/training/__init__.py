"""What every application package shares: the command line, the base task, the base data module, callbacks."""

from recollect.training.data import DataModule, Split, data_folder, fetch
from recollect.training.errors import DataError, UserError
from recollect.training.pictures import ReadPicture
from recollect.training.task import Task

__all__ = ["DataError", "DataModule", "ReadPicture", "Split", "Task", "UserError", "data_folder", "fetch"]
