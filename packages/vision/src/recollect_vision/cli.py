"""The command line: ``recollect-vision``."""

from recollect_cli import command_line

main = command_line("recollect_vision", default="digits")
