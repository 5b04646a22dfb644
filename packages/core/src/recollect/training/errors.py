"""Mistakes that a user can mend: the command line shows them as one line, without a traceback."""

from recollect_cli.errors import ArgumentError, CheckpointError, UserError

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "DataError",
    "DiskError",
    "DownloadError",
    "NonFiniteError",
    "UserError",
]


class DataError(UserError, ValueError):
    """A file does not hold what it should; the message names the file and, where it can, the line."""


class DownloadError(UserError, OSError):
    """A dataset could not be fetched; the message says from where, and where to put it by hand."""


class DiskError(UserError, OSError):
    """A file could not be written; what was there before is untouched."""


class NonFiniteError(UserError, ArithmeticError):
    """A loss became NaN or infinite; the message names the step, the batch and what in it was not finite."""
