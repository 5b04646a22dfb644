"""Flags of a command line, checked against the source of the classes that they configure."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from recollect_cli.configs import Settings, package_configs, read_config
from recollect_cli.errors import ArgumentError
from recollect_cli.signatures import method_parameters, signature

COMMANDS = ("fit", "validate", "test", "predict")
TRAINER = "lightning.pytorch.trainer.trainer.Trainer"
PARTS = ("model", "data")
"""Top-level settings that name a class."""

SHARED = ("config", "c", "help", "h", "print_config", "seed_everything", "trainer", *PARTS)
NOT_FLAGS = ("model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders")
"""Arguments of the trainer's methods that the command line fills in by itself."""

CLASS_KEYS = ("class_path", "init_args", "dict_kwargs", "help")


class Flag(NamedTuple):
    """One flag as it was given.

    Attributes:
        name: Without dashes, ``+`` and value: ``"model.memory.hops"``.
        value: Its value; ``None`` where nothing follows it.
    """

    name: str
    value: str | None


def take(args: Sequence[str], *names: str) -> tuple[list[str], list[str]]:
    """Return the values of an option, and the arguments without it.

    Raises:
        ArgumentError: If the option is the last argument, without a value.

    Example:
        >>> take(["--config", "a", "--x", "1", "-c=b"], "--config", "-c")
        (['a', 'b'], ['--x', '1'])
    """
    values, rest, left = [], [], list(args)
    while left:
        argument = left.pop(0)
        name, equals, value = argument.partition("=")
        if name not in names:
            rest.append(argument)
        elif equals:
            values.append(value)
        elif left:
            values.append(left.pop(0))
        else:
            raise ArgumentError(f"{argument} needs a value")
    return values, rest


def flags(args: Sequence[str]) -> Iterator[Flag]:
    """The flags of a command line, in order.

    Example:
        >>> [(flag.name, flag.value) for flag in flags(["--model.size=4", "--data.lists+", "X", "--help"])]
        [('model.size', '4'), ('data.lists', 'X'), ('help', None)]
    """
    left = list(args)
    while left:
        argument = left.pop(0)
        if is_value(argument):
            continue
        name, equals, value = argument.partition("=")
        following = left[0] if left and is_value(left[0]) else None
        yield Flag(name.lstrip("-").removesuffix("+"), value if equals else following)


def check_flags(package: str, command: str, args: Sequence[str], settings: Settings) -> Settings:
    """Check flags against the source of the classes; return the settings with the classes that flags name.

    What the source does not tell, such as arguments of compiled classes, is left to the parser, which imports
    it.

    Args:
        package: The package whose command it is.
        command: One of ``COMMANDS``.
        args: The command line after the command, without ``--config``.
        settings: What the configs say.

    Raises:
        ArgumentError: If a flag is unknown; the message names the nearest.
    """
    if args and not args[0].startswith("-"):
        raise ArgumentError(f"unexpected {args[0]!r}: flags follow {command}, such as --config NAME")
    allowed = _top_level(command)
    for flag in flags(args):
        top, *path = flag.name.split(".")
        if top not in allowed:
            raise ArgumentError(_unknown(f"--{flag.name}", [f"--{name}" for name in allowed]))
        if top == "trainer" and path:
            _check_trainer(flag.name, path[0])
        elif top in PARTS:
            _check_path(package, flag, path, settings)
            settings = _with_class(settings, [top, *path], flag.value)
    return settings


def check_config(package: str, command: str, path: Path, settings: Settings) -> None:
    """Check the settings of a config file.

    Args:
        package: The package whose command it is.
        command: One of ``COMMANDS``.
        path: The file.
        settings: What all configs together say: they name the classes.

    Raises:
        ArgumentError: If a setting is unknown; the message names the file and the nearest right name.
    """
    for name in _dotted(read_config(path)):
        try:
            check_flags(package, command, [f"--{name}", ""], settings)
        except ArgumentError as error:
            raise ArgumentError(f"{path}: {str(error).replace('--', '')}") from None


def _dotted(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the settings of a config under the names of flags."""
    for name, value in settings.items():
        place = f"{prefix}{name}"
        inner = value if place == "trainer" else arguments_of(value)
        yield place
        yield from _dotted(inner if isinstance(inner, Mapping) else {}, f"{place}.")


def class_of(value: Any) -> str | None:
    """Return the class of a setting, in either of the two forms of YAML."""
    if isinstance(value, Mapping):
        value = value.get("class_path")
    return value if isinstance(value, str) and "." in value else None


def arguments_of(value: Any) -> Mapping[str, Any]:
    """Return the arguments of a setting's class."""
    given = value.get("init_args") if isinstance(value, Mapping) else None
    return given if isinstance(given, Mapping) else {}


def _top_level(command: str) -> list[str]:
    own = [name for name in method_parameters(TRAINER, command) if name not in NOT_FLAGS]
    return [*SHARED, *own, *(["output"] if command == "predict" else [])]


def _check_trainer(flag: str, name: str) -> None:
    known = signature(TRAINER)
    name = name.removesuffix("+")
    if known is not None and name not in known.parameters and name != "help":
        raise ArgumentError(_unknown(f"--{flag}", [f"--trainer.{each}" for each in known.parameters]))


def _check_path(package: str, flag: Flag, path: Sequence[str], settings: Settings) -> None:
    """Follow a flag from the task or the data to the argument it names."""
    part = flag.name.split(".")[0]
    node, prefix = settings.get(part), f"--{part}"
    for name in path:
        if name in CLASS_KEYS:
            if name != "init_args":
                return
            continue
        owner = class_of(node)
        known = signature(owner) if owner is not None else None
        if owner is None or known is None:
            return
        if name not in known.parameters:
            raise ArgumentError(_unknown_argument(package, flag, name, owner, prefix, settings))
        node, prefix = arguments_of(node).get(name), f"{prefix}.{name}"


def _unknown_argument(
    package: str, flag: Flag, name: str, owner: str, prefix: str, settings: Settings
) -> str:
    short = owner.rpartition(".")[2]
    own = signature(owner)
    near = difflib.get_close_matches(name, own.parameters if own else (), n=1, cutoff=0.7)
    message = f"--{flag.name}: {short} has no argument {name!r}"
    if near:
        return f"{message}; did you mean {prefix}.{near[0]}?"
    elsewhere = [place for place in _places(settings) if place.rpartition(".")[2] == name]
    if elsewhere:
        return f"{message}; did you mean {' or '.join(elsewhere)}?"
    if prefix == "--data" and (others := _configs_whose_data_has(package, name)):
        return f"{message}; configs whose data has it: {', '.join(f'--config {other}' for other in others)}"
    has = ", ".join(own.parameters) if own else ""
    return f"{message}; it has: {has}"


def _places(settings: Settings) -> Iterator[str]:
    """Yield the flags of all arguments of classes in the settings, outermost first."""
    todo: list[tuple[str, Any]] = [(f"--{part}", settings.get(part)) for part in PARTS]
    while todo:
        prefix, node = todo.pop(0)
        owner = class_of(node)
        known = signature(owner) if owner is not None else None
        if known is not None:
            yield from (f"{prefix}.{name}" for name in known.parameters)
        todo += [(f"{prefix}.{name}", value) for name, value in arguments_of(node).items()]


def _configs_whose_data_has(package: str, name: str) -> list[str]:
    """Return the configs with such an argument of the data, shortest names first."""
    found = []
    for config, path in package_configs(package).items():
        owner = class_of(read_config(path).get("data"))
        known = signature(owner) if owner is not None else None
        if known is not None and name in known.parameters:
            found.append(config)
    return sorted(found, key=lambda config: (len(config), config))[:5]


def _with_class(settings: Settings, path: Sequence[str], value: str | None) -> Settings:
    """Return the settings with the class that a flag selects, so that the next flags find its arguments."""
    names = [name for name in path if name not in ("class_path", "init_args")]
    if value is None or any(name in CLASS_KEYS for name in names):
        return settings
    read = _parsed(value)
    if class_of(read) is None and read is not None:
        return settings
    return _set(settings, names, read)


def _set(settings: Mapping[str, Any], path: Sequence[str], value: Any) -> Settings:
    first, *rest = path
    if not rest:
        return {**settings, first: {"class_path": value} if isinstance(value, str) else value}
    node = settings.get(first)
    node = {"class_path": node} if isinstance(node, str) else dict(node) if isinstance(node, Mapping) else {}
    return {**settings, first: {**node, "init_args": _set(arguments_of(node), rest, value)}}


def _parsed(value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _unknown(flag: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(flag, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"{flag}: no such flag; {hint}"


def is_value(argument: str) -> bool:
    """Whether an argument is a value: a word, a negative number, or ``-`` for standard output."""
    return not argument.startswith("-") or argument == "-" or argument.lstrip("-")[:1].isdigit()
