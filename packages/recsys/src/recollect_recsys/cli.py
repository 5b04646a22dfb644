"""The command line: ``recollect-recsys``."""

from recollect_cli import command_line

main = command_line("recollect_recsys", default="tastes")
