"""Errors that the command line shows as one line, without a traceback."""


class UserError(Exception):
    """Something outside the program is wrong; the message says what to do about it."""


class ArgumentError(UserError, ValueError):
    """The command line names something that does not exist, or lacks something; the exit code is 2."""


class CheckpointError(UserError, ValueError):
    """A checkpoint cannot be found, is of another task, or does not fit the model."""
