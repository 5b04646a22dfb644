"""Command lines of runs: the name of an experiment, and the command as a file has it."""

import shlex
from collections.abc import Sequence
from pathlib import Path

MACHINERY = ("wandb", "ddp", "fsdp")
"""Configs that change where and how a run is done, not what it gives."""

NEUTRAL = (
    "--config",
    "-c",
    "--ckpt_path",
    "--seed_everything",
    "--trainer.accelerator",
    "--trainer.devices",
    "--trainer.num_nodes",
    "--trainer.strategy",
    "--trainer.logger",
    "--trainer.enable_model_summary",
    "--trainer.enable_progress_bar",
    "--trainer.default_root_dir",
)
"""Flags that do not belong in an experiment's name."""


class RunError(ValueError):
    """Run folders that cannot be made into one file; the message says why."""


def experiment_name(command: Sequence[str], folder: Path) -> str:
    """The name that follows from the command line of a run.

    Args:
        command: The command line.
        folder: The run folder, which has the name of the default config where the command has none.

    Example:
        >>> command = ["recollect-vision", "fit", "--config", "cifar10", "--config", "without-memory"]
        >>> experiment_name(command, Path("runs/vision/cifar10/2026-11-27_06-17-32"))
        'vision/cifar10+without-memory'

    Raises:
        RunError: If the command is no ``fit`` of packaged configs, or has flags that have to be in the name.
    """
    program, verb, *arguments = command
    if verb != "fit":
        raise RunError(f"no name follows from {program} {verb}: give one by --name DOMAIN/NAME")
    configs, flags = _options(arguments)
    telling = [flag for flag in flags if flag not in NEUTRAL]
    if telling:
        raise RunError(
            f"{', '.join(telling)} make it another experiment: give its name by --name DOMAIN/NAME"
        )
    if any(Path(config).name == "config.yaml" for config in configs):
        raise RunError(f"the config of {folder} is that of a run: give its name by --name DOMAIN/NAME")
    named = [Path(config).stem for config in configs if config not in MACHINERY]
    if not named or named[0] == "without-memory":
        named.insert(0, folder.resolve().parent.name)  # runs/<domain>/<config>/<time>
    return f"{program.removeprefix('recollect-')}/{'+'.join(named)}"


def _options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The values of ``--config``, and the names of all options."""
    configs, flags = [], []
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if not flag.startswith("-"):
            continue
        flags.append(flag)
        if flag in ("--config", "-c"):
            configs.append(value if equals else arguments[place + 1])
    return configs, flags


def general_command(command: Sequence[str], over: Sequence[str]) -> str:
    """The command without the seed, the flags of cases and the folders of one machine."""
    kept = []
    dropped = {"--seed_everything", "--trainer.default_root_dir", *(f"--{key}" for key in over)}
    left = list(command)
    while left:
        argument = left.pop(0)
        flag, equals, _ = argument.partition("=")
        if flag not in dropped:
            kept.append(_portable(argument))
        elif not equals and left:
            left.pop(0)
    return shlex.join(kept)


def _portable(argument: str) -> str:
    """``RUN/config.yaml`` for the config of a run, the name alone of any other absolute path.

    Example:
        >>> _portable("runs/vision/digits/2026-11-27/config.yaml"), _portable("--data.path=/data/my.csv")
        ('RUN/config.yaml', '--data.path=my.csv')
    """
    flag, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    path = Path(value)
    if path.name == "config.yaml":
        value = "RUN/config.yaml"
    elif path.is_absolute():
        value = path.name
    return f"{flag}{equals}{value}"
