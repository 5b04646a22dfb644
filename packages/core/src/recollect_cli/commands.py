"""A package's further commands: what each takes, and how it is started."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from recollect_cli.errors import ArgumentError
from recollect_cli.runs import check_run, last_checkpoint


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Declare the argument ``runs``: one or more run folders."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")


def check_runs(options: argparse.Namespace) -> None:
    """Raise if one of ``options.runs`` is not a run folder with a checkpoint.

    Raises:
        CheckpointError: With the folder.
    """
    for folder in options.runs:
        check_run(folder)
        last_checkpoint(folder)


class Command(NamedTuple):
    """A command beyond ``fit``, ``validate``, ``test`` and ``predict``.

    Attributes:
        module: The module whose function ``run`` takes the parsed arguments.
        summary: What it does, in a line.
        add_arguments: Declares its arguments; run folders by default.
        check: Raises if their values are wrong, as far as this shows before anything heavy is imported.
    """

    module: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None] = add_runs
    check: Callable[[argparse.Namespace], None] = check_runs


Commands = Mapping[str, Command]
"""Commands by name."""


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """See ``argparse``."""
        raise ArgumentError(message)


def run_command(program: str, name: str, command: Command, args: Sequence[str]) -> None:
    """Parse and check the arguments of a command, and only then import it and run it.

    Raises:
        ArgumentError: If the arguments are wrong.
        UserError: If the command refuses what it is given.
        SystemExit: After ``--help``.
    """
    parser = Parser(f"{program} {name}", description=command.summary, allow_abbrev=False)
    command.add_arguments(parser)
    options = parser.parse_args(list(args))
    command.check(options)
    from recollect.training.cli import run_module  # imports torch and lightning: several seconds

    run_module(program, command.module, options)
