"""The entry point of a package's command."""

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from recollect_cli.configs import Settings, find_config, overlays, package_configs, read_configs
from recollect_cli.errors import ArgumentError
from recollect_cli.flags import COMMANDS, check_config, check_flags, take

Main = Callable[[Sequence[str] | None], None]


class Request(NamedTuple):
    """A command line that was looked through.

    Attributes:
        command: One of ``COMMANDS``.
        names: The configs as they were given, the default where none was.
        paths: Their files.
        rest: The arguments without command and configs.
        named: Whether the command line names a config that is not an overlay.
    """

    command: str
    names: list[str]
    paths: list[Path]
    rest: list[str]
    named: bool


def command_line(package: str, default: str) -> Main:
    """The ``main`` of a package's command.

    Help, the version and mistakes are answered at once; everything else goes to ``recollect.training.cli``.

    Args:
        package: Import name of the package, whose ``configs`` folder holds its configs.
        default: Short name of the config that is used where none is given.

    Returns:
        A function of the command line, by default that of the process. It raises ``SystemExit`` with 2 for a
        wrong argument.
    """

    def main(args: Sequence[str] | None = None) -> None:
        given = list(sys.argv[1:] if args is None else args)
        try:
            text = answer(package, default, given)
        except ArgumentError as error:
            print(f"{package.replace('_', '-')}: error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        if text is not None:
            _show(text)
            return
        from recollect.training.cli import main as run  # imports torch and lightning: several seconds

        run(package, default, given)

    return main


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader, head for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def answer(package: str, default: str, args: Sequence[str]) -> str | None:
    """The text that answers a command line by itself, or ``None`` where there is work to do.

    Raises:
        ArgumentError: If the command line is certainly wrong.
    """
    from recollect_cli import help as texts

    if not args or args[0] in ("-h", "--help"):
        return texts.overview(package, default)
    if args[0] == "--version":
        return texts.version_line(package)
    request = look_through(package, default, args)
    settings: Settings = read_configs(request.paths)
    if take(request.rest, "--ckpt_path")[0] and request.named is False:
        settings = {}
    shipped = {*package_configs(package).values(), *overlays().values()}
    for path in request.paths:
        if path not in shipped:
            check_config(package, request.command, path, settings)
    settings = check_flags(package, request.command, request.rest, settings)
    if any(argument in ("-h", "--help") for argument in request.rest):
        return texts.config_help(package, request.command, request.paths, settings)
    return None


def look_through(package: str, default: str, args: Sequence[str]) -> Request:
    """Find the command and the configs that a command line names.

    Raises:
        ArgumentError: If the command or a config does not exist.
    """
    command, rest = args[0], list(args[1:])
    if command not in COMMANDS:
        raise ArgumentError(_unknown_command(package, command))
    names, rest = take(rest, "--config", "-c")
    own, shared = package_configs(package), overlays()
    named = any(name in own or name not in shared for name in names)
    names = names if named else [default, *names]
    return Request(command, names, [find_config(name, package) for name in names], rest, named)


def _unknown_command(package: str, command: str) -> str:
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(COMMANDS)}"
    if command in package_configs(package):
        hint = f"it is a config: fit --config {command}"
    return f"no such command: {command!r}; {hint}"
