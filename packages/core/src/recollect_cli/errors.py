"""Errors that the command line shows as one line, without a traceback."""


class UserError(Exception):
    """Something outside the program is wrong; the message says what to do about it."""


class ArgumentError(UserError, ValueError):
    """The command line names something that does not exist, or lacks something; the exit code is 2."""
