"""Packaged configs: their files, their short names, and the settings that several of them give together."""

import difflib
import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from recollect_cli.errors import ArgumentError

Settings = dict[str, Any]

CORE = "recollect.training"
"""Where the configs that every package shares (overlays) live."""

WITHOUT_MEMORY = "without-memory"
"""The overlay that switches memories off: its settings are patterns of argument names."""


def package_configs(package: str) -> dict[str, Path]:
    """Return the configs of a package by short name, without importing anything.

    Example:
        >>> "wandb" in package_configs(CORE)
        True
    """
    top, *rest = package.split(".")
    spec = find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise ArgumentError(f"there is no package {package!r}")
    folder = Path(next(iter(spec.submodule_search_locations)), *rest, "configs")
    return {path.stem: path for path in sorted(folder.glob("*.yaml")) if path.stem != "base"}


def overlays() -> dict[str, Path]:
    """Return the overlays, which go on top of any config, by short name."""
    return package_configs(CORE)


def headline(path: Path) -> str:
    """Return the first line of a config's comment after the command.

    Example:
        >>> headline(overlays()["wandb"])
        'Log to Weights & Biases as well.'
    """
    return next((line for line in comment(path) if not line.startswith(("recollect-", "--"))), "")


def comment(path: Path) -> list[str]:
    """Return the comment at the top of a config: command, description, results."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines)]


def find_config(name: str, package: str) -> Path:
    """The file of a config: a short name of the package or an overlay, or a path.

    Raises:
        ArgumentError: If there is none; the message names the nearest.
    """
    known = overlays() | package_configs(package)
    if name in known:
        return known[name]
    path = Path(name)
    if path.is_file():
        return path.absolute()
    if path.suffix in (".yaml", ".yml", ".json") or os.sep in name:
        raise ArgumentError(f"--config {name}: there is no such file")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ArgumentError(f"--config {name}: no such config in {package}; {hint}It has: {', '.join(known)}")


def read_config(path: Path) -> Settings:
    """Read the settings of a YAML file.

    Raises:
        ArgumentError: If the file is not YAML, or not a mapping.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArgumentError(f"--config {path}: not a YAML file: {' '.join(str(error).split())}") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ArgumentError(f"--config {path}: expected settings by name, found a {type(settings).__name__}")
    return settings


def read_configs(paths: Iterable[Path]) -> Settings:
    """Merge the settings of several files, later ones on top."""
    settings: Settings = {}
    for path in paths:
        settings = merge(settings, read_config(path))
    return settings


def memories(settings: Settings) -> list[str]:
    """The arguments that give the task a memory: ``memory`` and ``<role>_memory``, unless they are null.

    Example:
        >>> task = {"class_path": "Recognition", "init_args": {"bins": 40, "speaker_memory": {}}}
        >>> memories({"model": task})
        ['speaker_memory']
    """
    patterns = _task_arguments(read_config(overlays()[WITHOUT_MEMORY]))
    given = [name for name, value in _task_arguments(settings).items() if value is not None]
    return [name for name in given if any(fnmatch(name, pattern) for pattern in patterns)]


def _task_arguments(settings: Settings) -> Mapping[str, Any]:
    task = settings.get("model")
    given = task.get("init_args") if isinstance(task, Mapping) else None
    return given if isinstance(given, Mapping) else {}


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
    """Settings with others on top; another class does not keep the arguments of the one it replaces.

    Example:
        >>> merge({"a": {"class_path": "A", "init_args": {"x": 1}}}, {"a": {"init_args": {"y": 2}}})
        {'a': {'class_path': 'A', 'init_args': {'x': 1, 'y': 2}}}
        >>> merge({"a": {"class_path": "A", "init_args": {"x": 1}}}, {"a": {"class_path": "B"}})
        {'a': {'class_path': 'B'}}
    """
    merged = dict(below)
    for name, value in above.items():
        former = merged.get(name)
        if not isinstance(value, Mapping) or not isinstance(former, Mapping):
            merged[name] = value
        elif value.get("class_path", former.get("class_path")) != former.get("class_path"):
            merged[name] = dict(value)
        else:
            merged[name] = merge(former, value)
    return merged
