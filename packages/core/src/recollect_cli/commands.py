"""A package's further commands: what each takes, and how it is started."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, NoReturn

from recollect_cli.errors import ArgumentError


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Let a command take run folders, as ``runs``."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")


class Command(NamedTuple):
    """A command beyond ``fit``, ``validate``, ``test`` and ``predict``.

    Attributes:
        module: Where it is; its function ``run`` takes the parsed arguments.
        summary: What it does, in a line.
        add_arguments: Declares its arguments; run folders by default.
    """

    module: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None] = add_runs


Commands = Mapping[str, Command]
"""Commands by name."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ArgumentError(message)


def run_command(program: str, name: str, command: Command, args: Sequence[str]) -> None:
    """Parse the arguments of a command, and only then import it and run it.

    Raises:
        ArgumentError: If the arguments are wrong.
        UserError: If the command refuses what it is given.
        SystemExit: After ``--help``.
    """
    parser = _Parser(f"{program} {name}", description=command.summary, allow_abbrev=False)
    command.add_arguments(parser)
    options = parser.parse_args(list(args))
    import_module(command.module).run(options)
