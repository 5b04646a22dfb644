"""The command line: ``recollect-speech``."""

import argparse
from pathlib import Path

from recollect_cli import Command, command_line
from recollect_cli.errors import ArgumentError, UserError
from recollect_cli.runs import check_run, last_checkpoint


def add_splice_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``splice``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of a Recognition task")
    parser.add_argument("--output", type=Path, required=True, help="folder to create")
    parser.add_argument("--count", type=int, default=3000, help="number of sentences")
    parser.add_argument(
        "--words", type=int, nargs=2, default=(4, 10), metavar=("LEAST", "MOST"), help="words in a sentence"
    )
    parser.add_argument("--span", type=int, default=3, help="most consecutive words of one recording")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice")


def check_splice_arguments(options: argparse.Namespace) -> None:
    """Raise if a number is out of range, the output exists or the run has no checkpoint."""
    least, most = options.words
    if min(options.count, options.span, least) < 1 or least > most:
        raise ArgumentError("--count, --span and --words must be positive, and --words LEAST not above MOST")
    if options.output.exists():
        raise UserError(f"--output {options.output} exists already; choose a new folder")
    check_run(options.run)
    last_checkpoint(options.run)


COMMANDS = {
    "splice": Command(
        "recollect_speech.commands.splice",
        "join words of a run's training recordings to new sentences",
        add_splice_arguments,
        check_splice_arguments,
    ),
}

main = command_line("recollect_speech", default="digits", commands=COMMANDS)
