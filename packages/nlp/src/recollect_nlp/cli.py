"""The command line: ``recollect-nlp``."""

from recollect_cli import command_line

main = command_line("recollect_nlp", default="stories")
