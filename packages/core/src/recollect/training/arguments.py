"""A command line with configs and checkpoint resolved to paths."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recollect.training.run_folder import best_checkpoint
from recollect_cli.configs import read_configs
from recollect_cli.flags import check_flags
from recollect_cli.names import names_in_configs, quote_names
from recollect_cli.request import read_request


class Invocation(NamedTuple):
    """A resolved command line.

    Attributes:
        package: Import name of the package whose command it is.
        command: One of ``COMMANDS``.
        args: The command line, configs and checkpoint as paths.
        name: Short name of the config: that of its runs.
        root: Where ``runs/`` stands.
        run: The run that is resumed, or whose checkpoint is used; ``None`` for a new one.
        checkpoint: Where to continue from.
        line: The command line as it was given.
    """

    package: str
    command: str
    args: list[str]
    name: str
    root: Path
    run: Path | None
    checkpoint: Path | None
    line: list[str]


def interpret(package: str, default: str, args: Sequence[str]) -> Invocation:
    """Resolve the configs and the checkpoint that a command line names.

    Raises:
        ArgumentError: If a config cannot be found, or a command that needs a checkpoint gets none.
        CheckpointError: If the requested checkpoint does not exist.
    """
    request = read_request(package, default, args)
    checkpoint = request.checkpoint
    if request.best and request.run is not None:
        checkpoint = best_checkpoint(request.run)
    configs = [part for path in request.paths for part in ("--config", str(path))]
    chosen = ["--ckpt_path", str(checkpoint)] if checkpoint else []
    settings = check_flags(package, request.command, request.rest, read_configs(request.paths))
    names = names_in_configs(request.paths, settings)
    line = [request.command, *configs, *names, *quote_names(request.rest, settings), *chosen]
    return Invocation(
        package, request.command, line, request.name, request.root, request.run, checkpoint, request.line
    )
