"""The entry point of a package's command."""

import os
import sys
from collections.abc import Callable, Sequence

from recollect_cli import help as texts
from recollect_cli.commands import Commands, run_command
from recollect_cli.configs import WITHOUT_MEMORY, overlays, package_configs, read_configs
from recollect_cli.errors import ArgumentError, UserError
from recollect_cli.flags import COMMANDS, check_config, check_flags
from recollect_cli.request import check_command, find_configs, read_request

Main = Callable[[Sequence[str] | None], None]


def command_line(package: str, default: str, commands: Commands | None = None) -> Main:
    """The ``main`` of a package's command.

    Help, the version and mistakes are answered at once; everything else goes to ``recollect.training.cli``.

    Args:
        package: Import name of the package, whose ``configs`` folder holds its configs.
        default: Short name of the config that is used where none is given.
        commands: The package's further commands.

    Returns:
        A function of the command line, by default that of the process. It raises ``SystemExit`` with 2 for a
        wrong argument and with 1 for a missing checkpoint.
    """

    def main(args: Sequence[str] | None = None) -> None:
        given = list(sys.argv[1:] if args is None else args)
        further = commands or {}
        try:
            if given and given[0] in further:
                run_command(texts.program(package), given[0], further[given[0]], given[1:])
                return
            text = answer(package, default, given, further)
        except UserError as error:
            print(f"{texts.program(package)}: error: {error}", file=sys.stderr)
            raise SystemExit(2 if isinstance(error, ArgumentError) else 1) from None
        if text is not None:
            _show(text)
            return
        from recollect.training.cli import main as run  # imports torch and lightning: several seconds

        run(package, default, given)

    return main


def answer(package: str, default: str, args: Sequence[str], commands: Commands | None = None) -> str | None:
    """Return the text that answers a command line, or ``None`` if there is work to do.

    Raises:
        ArgumentError: If the command line is wrong.
        CheckpointError: If there is no such checkpoint.
    """
    if not args or args[0] in ("-h", "--help"):
        return texts.overview(package, default, commands or {})
    if args[0] == "--version":
        return texts.version_line(package)
    check_command(package, args[0], [*COMMANDS, *(commands or ())])
    found = find_configs(package, default, args)
    if any(argument in ("-h", "--help") for argument in found.rest):
        settings = check_flags(package, found.command, found.rest, read_configs(found.paths))
        shown = [*found.paths, overlays()[WITHOUT_MEMORY]] if found.suffix else found.paths
        return texts.config_help(package, found.command, shown, settings)
    request = read_request(package, default, args)
    settings = read_configs(request.paths)
    shipped = {*package_configs(package).values(), *overlays().values()}
    for path in request.paths:
        if path not in shipped:
            check_config(package, request.command, path, settings)
    check_flags(package, request.command, request.rest, settings)
    return None


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader, head for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
