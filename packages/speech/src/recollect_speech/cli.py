"""The command line: ``recollect-speech``."""

from recollect_cli import command_line

main = command_line("recollect_speech", default="digits")
