"""What a command line means before it is parsed: short config names, the default, ``last`` and ``best``."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recollect.training.errors import ArgumentError, CheckpointError
from recollect.training.runs import best_checkpoint, last_checkpoint, newest_run, run_name, run_of
from recollect_cli.configs import package_configs, read_config
from recollect_cli.flags import take
from recollect_cli.front import look_through


class Invocation(NamedTuple):
    """A command line with everything looked up.

    Attributes:
        package: Import name of the package whose command it is.
        command: One of ``COMMANDS``.
        args: The command line, configs and checkpoint as paths.
        name: Short name of the config: that of its runs.
        root: Where ``runs/`` stands.
        run: The run that is resumed, or whose checkpoint is used; ``None`` for a new one.
        checkpoint: Where to go on from.
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
    """Look up what a command line names.

    Raises:
        ArgumentError: If a config cannot be found, or a command that needs a checkpoint has none.
        CheckpointError: If there is no checkpoint of the kind asked for.
    """
    command, given, paths, rest, named = look_through(package, default, args)
    wanted, rest = take(rest, "--ckpt_path")
    own = package_configs(package)
    name = run_name(paths[0])
    root = Path(_root(paths, rest))
    run, checkpoint = _checkpoint(command, wanted[-1] if wanted else None, paths[0], root, package, name)
    if run is not None and given[0] in own:
        other = run_name(run / "config.yaml")
        if named and other not in (name, "config"):
            raise ArgumentError(
                f"--config {given[0]}: {checkpoint} is of a run of {other!r}; leave --config out to take it "
                f"as it was made, or give --config {run / 'config.yaml'}"
            )
        paths[0] = run / "config.yaml"  # as that run was made; a path is taken as it stands
    configs = [part for path in paths for part in ("--config", str(path))]
    chosen = ["--ckpt_path", str(checkpoint)] if checkpoint else []
    line = [command, *configs, *rest, *chosen]
    return Invocation(package, command, line, name, root, run, checkpoint, list(args))


def _root(paths: Sequence[Path], args: Sequence[str]) -> str:
    """``trainer.default_root_dir``, from the command line or else from the last config that sets it."""
    given, _ = take(args, "--trainer.default_root_dir")
    if given:
        return given[-1]
    root = "."
    for path in paths:
        trainer = read_config(path).get("trainer")
        root = (trainer.get("default_root_dir") if isinstance(trainer, dict) else None) or root
    return root


def _checkpoint(
    command: str, wanted: str | None, config: Path, root: Path, package: str, name: str
) -> tuple[Path | None, Path | None]:
    """The run and its checkpoint that ``--ckpt_path`` asks for."""
    if wanted in (None, "null", "None"):
        if command == "fit":
            return None, None
        raise ArgumentError(f"{command} needs --ckpt_path: last, best or a file")
    if wanted not in ("last", "best"):
        path = Path(str(wanted))
        if not path.exists():
            raise CheckpointError(f"--ckpt_path {wanted}: there is no such file")
        # Training from a given file begins a run of its own, so that nothing is overwritten.
        return (None if command == "fit" else run_of(path.absolute())), path.absolute()
    own = config.parent if config.name == "config.yaml" and (config.parent / "checkpoints").is_dir() else None
    run = own or newest_run(root, package, name)
    return run, (last_checkpoint(run) if wanted == "last" else best_checkpoint(run))
