"""The command line: ``recollect-vision``."""

from recollect_cli import Command, command_line

COMMANDS = {
    "calibrate": Command(
        "recollect_vision.commands.calibration",
        "compare the calibration of runs: network, examples, temperature scaling",
    ),
    "class-incremental": Command(
        "recollect_vision.commands.class_incremental",
        "write classes that runs left out, measure them by number of examples, erase them",
    ),
}

main = command_line("recollect_vision", default="digits", commands=COMMANDS)
