"""The command line: ``recollect-speech``."""

import argparse
from pathlib import Path

from recollect_cli import Command, command_line


def splice_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``splice`` takes."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of a Recognition task")
    parser.add_argument("--output", type=Path, required=True, help="folder to create")
    parser.add_argument("--count", type=int, default=3000, help="number of sentences")
    parser.add_argument(
        "--words", type=int, nargs=2, default=(4, 10), metavar=("LEAST", "MOST"), help="words in a sentence"
    )
    parser.add_argument("--span", type=int, default=3, help="most consecutive words of one recording")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice")


COMMANDS = {
    "splice": Command(
        "recollect_speech.commands.splice",
        "join words of a run's training recordings to new sentences",
        splice_arguments,
    ),
}

main = command_line("recollect_speech", default="digits", commands=COMMANDS)
