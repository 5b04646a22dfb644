"""Names on the command line and in configs are text, where YAML reads ``07`` as 7 and ``no`` as ``False``."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from recollect_cli.configs import Settings, read_config
from recollect_cli.flags import CLASS_KEYS, PARTS, arguments_of, class_of, is_value
from recollect_cli.signatures import signature

NAMES = re.compile(r"(Sequence|Iterable|list|tuple)\[(str|str \| int|Path)(, \.\.\.)?\]( \| None)?")
"""Types of arguments that are lists of names."""

NAME = re.compile(r"(str|Path)( \| None)?")
"""Types of arguments that are one name."""


def quote_names(args: Sequence[str], settings: Settings) -> list[str]:
    """Quote the lists of names of a command line as they are written.

    Args:
        args: The flags, without ``--config``.
        settings: What the configs and the flags say: they name the classes.

    Example:
        >>> quote_names(["--seed_everything", "07"], {})
        ['--seed_everything', '07']
    """
    quoted, left = [], list(args)
    while left:
        argument = left.pop(0)
        flag, equals, value = argument.partition("=")
        appended = flag.endswith("+")
        if is_value(argument) or not _is(NAMES, settings, flag.lstrip("-").removesuffix("+").split(".")):
            quoted.append(argument)
        elif equals:
            quoted.append(f"{flag}={_quoted(value, appended)}")
        elif left and is_value(left[0]):
            quoted += [flag, _quoted(left.pop(0), appended)]
        else:
            quoted.append(argument)
    return quoted


def names_in_configs(paths: Sequence[Path], settings: Settings) -> list[str]:
    """Return flags that restore names in config files that YAML reads as something else.

    Args:
        paths: The files; later ones come on top.
        settings: What the configs and the flags say: they name the classes.
    """
    flags: dict[str, str] = {}
    for path in paths:
        read = {part: value for part, value in read_config(path).items() if part in PARTS}
        if not read:
            continue
        written = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
        for place, value, text in _leaves(read, written):
            name = ".".join(place)
            flags.pop(name, None)  # this file is on top of the earlier ones
            if isinstance(value, list) and _is(NAMES, settings, place) and _texts(value, text) != value:
                flags[name] = json.dumps(_texts(value, text), ensure_ascii=False)
            elif not isinstance(value, list | str | None) and _is(NAME, settings, place):
                flags[name] = text
    return [f"--{name}={value}" for name, value in flags.items()]


def _leaves(
    read: Mapping[str, Any], written: Mapping[str, Any], place: Sequence[str] = ()
) -> Iterator[tuple[list[str], Any, Any]]:
    """Yield path, value and text of the settings of a file that are not mappings."""
    for name, value in read.items():
        if not isinstance(name, str):
            continue  # ``no: …``: a setting that the parser does not know
        inner = [*place, name] if name not in CLASS_KEYS else list(place)
        if isinstance(value, Mapping):
            yield from _leaves(value, written[name], inner)
        elif name not in CLASS_KEYS:
            yield inner, value, written[name]


def _texts(values: list[Any], texts: list[Any]) -> list[Any]:
    return [text if value is not None else None for value, text in zip(values, texts, strict=True)]


def _is(kind: re.Pattern[str], settings: Settings, path: Sequence[str]) -> bool:
    """Whether the annotation of an argument, found by its path, matches."""
    first, *names = [name for name in path if name != "init_args"]
    if first not in PARTS or not names:
        return False
    node = settings.get(first)
    for name in names[:-1]:
        node = arguments_of(node).get(name)
    owner = class_of(node)
    known = signature(owner) if owner is not None else None
    parameter = known.parameters.get(names[-1]) if known is not None else None
    return parameter is not None and kind.fullmatch(parameter.annotation) is not None


def _quoted(value: str, appended: bool) -> str:
    """Return a list of names as JSON, and any other value unchanged."""
    if appended and not value.startswith("["):
        return json.dumps(value, ensure_ascii=False)
    try:
        names = yaml.load(value, yaml.BaseLoader)
    except yaml.YAMLError:
        return value  # the parser says what is wrong with it
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return value
    return json.dumps(names, ensure_ascii=False)
