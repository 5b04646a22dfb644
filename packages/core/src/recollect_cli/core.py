"""The command line of the core: ``recollect``."""

import sys
from collections.abc import Callable, Mapping, Sequence

from recollect_cli import serve
from recollect_cli.errors import ArgumentError, UserError

COMMANDS: Mapping[str, tuple[str, Callable[[Sequence[str]], None]]] = {
    "serve": (serve.SUMMARY, serve.main),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        args: The command line; that of the process by default.

    Raises:
        SystemExit: With 2 for a wrong argument, 1 for anything else that the user can fix.
    """
    given = list(sys.argv[1:] if args is None else args)
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return
    try:
        if given[0] == "--version":
            from importlib.metadata import version

            print(f"recollect {version('recollect')}")
        elif given[0] in COMMANDS:
            COMMANDS[given[0]][1](given[1:])
        else:
            raise ArgumentError(f"there is no command {given[0]!r}; there is {', '.join(COMMANDS)}")
    except UserError as error:
        print(f"recollect: error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, ArgumentError) else 1) from None


def _overview() -> str:
    lines = [f"  {name:<8} {summary}" for name, (summary, _) in COMMANDS.items()]
    return "\n".join(["usage: recollect COMMAND …", "", *lines, "", "recollect COMMAND --help describes it."])
