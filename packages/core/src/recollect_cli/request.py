"""The request of a command line: command, configs, and the run that it continues or uses."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recollect_cli.configs import (
    WITHOUT_MEMORY,
    find_config,
    memories,
    overlays,
    package_configs,
    read_config,
    read_configs,
)
from recollect_cli.errors import ArgumentError, CheckpointError
from recollect_cli.flags import COMMANDS, take
from recollect_cli.runs import last_checkpoint, newest_run, run_name, run_of


class Configs(NamedTuple):
    """The command and the configs of a command line.

    Attributes:
        command: One of ``COMMANDS``.
        names: The configs by name, the default among them where no other was given, except
            ``without-memory``.
        paths: Their files.
        rest: The arguments without command and configs, after the flags that ``without-memory`` stands for.
        named: Whether the command line names a config that is not an overlay.
        suffix: ``"+without-memory"``, or nothing: it follows the config's name in that of its runs.
    """

    command: str
    names: list[str]
    paths: list[Path]
    rest: list[str]
    named: bool
    suffix: str


class Request(NamedTuple):
    """A resolved command line.

    Attributes:
        package: Import name of the package whose command it is.
        command: One of ``COMMANDS``.
        paths: The config files; that of the run in place of a packaged one where there is a run.
        rest: The arguments without command, configs and checkpoint.
        name: Short name of the config: that of its runs.
        root: Where ``runs/`` stands.
        run: The run that is resumed, or whose checkpoint is used; ``None`` for a new one.
        checkpoint: Where to continue from; ``None`` for none, or where it is the best one of the run.
        best: Whether the best checkpoint of the run is asked for: only reading its checkpoints tells which.
        line: The command line as it was given.
    """

    package: str
    command: str
    paths: list[Path]
    rest: list[str]
    name: str
    root: Path
    run: Path | None
    checkpoint: Path | None
    best: bool
    line: list[str]


def find_configs(package: str, default: str, args: Sequence[str]) -> Configs:
    """Find the command and the configs that a command line names.

    Raises:
        ArgumentError: If the command or a config does not exist.
    """
    command, rest = args[0], list(args[1:])
    check_command(package, command, COMMANDS)
    names, rest = take(rest, "--config", "-c")
    own, shared = package_configs(package), overlays()
    named = any(name in own or name not in shared for name in names)
    names = names if named else [default, *names]
    merged = [name for name in names if name != WITHOUT_MEMORY]
    paths = [find_config(name, package) for name in merged]
    if merged == names:
        return Configs(command, names, paths, rest, named, "")
    found = memories(read_configs(paths))
    if not found:
        raise ArgumentError(f"--config {WITHOUT_MEMORY}: {merged[0]} has no memory")
    flags = [part for name in found for part in (f"--model.{name}", "null")]
    return Configs(command, merged, paths, [*flags, *rest], named, f"+{WITHOUT_MEMORY}")


def read_request(package: str, default: str, args: Sequence[str]) -> Request:
    """Resolve the configs and the checkpoint that a command line names.

    Raises:
        ArgumentError: If a config does not exist, or a command that needs a checkpoint gets none.
        CheckpointError: If the requested checkpoint does not exist.
    """
    command, names, paths, rest, named, suffix = find_configs(package, default, args)
    given, rest = take(rest, "--ckpt_path")
    wanted = given[-1] if given else None
    name, root = run_name(paths[0]) + suffix, Path(_root(paths, rest))
    run, checkpoint = _checkpoint(command, wanted, paths[0], root, package, name)
    if run is not None and names[0] in package_configs(package):
        other = run_name(run / "config.yaml")
        if named and other not in (name, "config"):
            raise ArgumentError(
                f"--config {names[0]}: {checkpoint or run} is of a run of {other!r}; leave --config out to "
                f"use it as it was made, or give --config {run / 'config.yaml'}"
            )
        paths[0] = run / "config.yaml"  # as that run was made; a path is taken as it stands
    return Request(package, command, paths, rest, name, root, run, checkpoint, wanted == "best", list(args))


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
    """Return the run and the checkpoint of ``--ckpt_path``; no checkpoint yet for ``best``."""
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
    return run, (last_checkpoint(run) if wanted == "last" else None)


def check_command(package: str, command: str, known: Sequence[str]) -> None:
    """Raise if there is no such command.

    Raises:
        ArgumentError: With the nearest command.
    """
    if command in known:
        return
    near = difflib.get_close_matches(command, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(known)}"
    if command in package_configs(package):
        hint = f"it is a config: fit --config {command}"
    raise ArgumentError(f"no such command: {command!r}; {hint}")
