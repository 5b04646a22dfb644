"""Errors that users can fix; the command line shows them in one line, without a traceback."""

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
    """Invalid data; the message names the file and, if possible, the line."""


class DownloadError(UserError, OSError):
    """A failed download; the message says where to put the file by hand."""


class DiskError(UserError, OSError):
    """A file could not be written; the previous one is intact."""


class NonFiniteError(UserError, ArithmeticError):
    """A loss became NaN or infinite; the message names the step, the batch and what in it was not finite."""
