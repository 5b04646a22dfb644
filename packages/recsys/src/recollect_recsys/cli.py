"""The command line: ``recollect-recsys``."""

from recollect_cli import Command, command_line

COMMANDS = {
    "cold-start": Command(
        "recollect_recsys.commands.cold_start",
        "measure users whom runs held out of training, by number of clicks",
    ),
}

main = command_line("recollect_recsys", default="tastes", commands=COMMANDS)
