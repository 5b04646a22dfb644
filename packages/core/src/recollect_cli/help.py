"""Text of ``--help``, made from configs and sources without importing them."""

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import docstring_parser
import yaml

from recollect_cli.commands import Commands
from recollect_cli.configs import Settings, headline, overlays, package_configs
from recollect_cli.flags import PARTS, TRAINER, arguments_of, class_of
from recollect_cli.signatures import Signature, signature

ABOUT = {
    "fit": "train, keep the best checkpoint, test it",
    "validate": "measure a checkpoint on the validation split",
    "test": "measure a checkpoint on the test split",
    "predict": "write predictions of a checkpoint",
}
TRAINER_FLAGS = {
    "max_epochs": "how many epochs to train",
    "max_steps": "how many optimiser steps to train at most",
    "max_time": "how long to train at most, as DD:HH:MM:SS",
    "accelerator": "cpu, gpu, … ; auto takes what there is",
    "devices": "how many devices, or which",
    "precision": "32-true, bf16-mixed, …",
    "default_root_dir": "the folder that has runs/",
    "fast_dev_run": "try a few batches and write nothing",
}
PASSED = ("params", "optimizer", "last_epoch")
"""Arguments that the task passes to what it makes."""

VALUE_WIDTH = 40
"""Characters of a value that are shown."""


def program(package: str) -> str:
    """The name of a package's command."""
    return package.replace("_", "-")


def version_line(package: str) -> str:
    """Return the text of ``--version``."""
    return f"{program(package)} {version(program(package))}"


def overview(package: str, default: str, commands: Commands) -> str:
    """Return the text of ``--help``: commands and configs, each with a line, and further help."""
    name = program(package)
    lines = [f"usage: {name} COMMAND [--config NAME_OR_PATH …] [--FLAG VALUE …]", "", "commands:"]
    about = {**ABOUT, **{command: given.summary for command, given in commands.items()}}
    width = max(map(len, about))
    lines += [_one_line(f"  {command:<{width}}  {text}") for command, text in about.items()]
    lines += ["", f"configs (without --config: {default}):", *_listed(package_configs(package))]
    lines += ["", "configs that go on top of another:", *_listed(overlays()), ""]
    lines += [
        f"{name} fit --config NAME --help lists the flags of its task and data.",
        *(f"{name} {command} --help lists the arguments of {command}." for command in commands),
        "Several --config are merged, later ones on top; flags go on top of all.",
    ]
    return "\n".join(lines)


def config_help(package: str, command: str, paths: Sequence[Path], settings: Settings) -> str:
    """Return the text of ``COMMAND --config NAME --help``: flags of task, data and trainer."""
    name = " ".join(f"--config {path.stem}" for path in paths)
    lines = [f"usage: {program(package)} {command} {name} [--FLAG VALUE …]", ""]
    lines += [headline(paths[0])]
    for part in PARTS:
        lines += ["", *_part_help(part, settings.get(part))]
    lines += ["", "trainer: the arguments of lightning.pytorch.Trainer, for instance"]
    lines += [line for flag, text in TRAINER_FLAGS.items() for line in _entry(f"--trainer.{flag}", text)]
    others = signature(TRAINER)
    rest = [flag for flag in (others.parameters if others else {}) if flag not in TRAINER_FLAGS]
    lines += textwrap.wrap(f"and {', '.join(rest)}", _width(), initial_indent="  ", subsequent_indent="  ")
    lines += ["", "further flags:"]
    lines += _entry("--config NAME", "a config of the package or a file; may be given several times")
    lines += _entry("--ckpt_path PATH", "the checkpoint to use or to resume: last, best or a file")
    lines += _entry("--seed_everything N", "the seed")
    if command == "predict":
        lines += _entry("--output FILE", "where predictions go (.jsonl, .csv); - is standard output")
    lines += _entry("--print_config", "print the merged settings and stop")
    return "\n".join(lines)


def _part_help(part: str, node: Any) -> Iterator[str]:
    owner = class_of(node)
    known = signature(owner) if owner is not None else None
    yield f"{part}: {owner or 'no class'}"
    if owner is None or known is None:
        yield f"  its arguments cannot be read from its source: --{part}.help {owner or 'CLASS'} lists them"
        return
    texts = _descriptions(known)
    given = arguments_of(node)
    for item in known.parameters.values():
        value = _shown(given[item.name]) if item.name in given else item.default
        shown = "required" if value is None else f"default: {_cut(value)}"
        yield from _entry(f"--{part}.{item.name}", f"{texts.get(item.name, '')} ({shown})".strip())
        inner = class_of(given.get(item.name))
        inner_known = signature(inner) if inner is not None else None
        if inner_known is not None:
            names = ", ".join(f".{name}" for name in inner_known.parameters if name not in PASSED)
            yield from textwrap.wrap(
                f"with {names}", _width(), initial_indent=" " * 8, subsequent_indent=" " * 8
            )


def _descriptions(known: Signature) -> dict[str, str]:
    """Return the descriptions of arguments: from the class's docstring, else from its bases'."""
    texts: dict[str, str] = {}
    for docstring in known.docstrings:
        for item in docstring_parser.parse(docstring).params:
            text = " ".join((item.description or "").split())
            if not texts.get(item.arg_name) or texts[item.arg_name].startswith("As in "):
                texts[item.arg_name] = text
    return texts


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and "class_path" in value:
        return str(value["class_path"]).rpartition(".")[2]
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return f"[{', '.join(_shown(item) for item in value)}]"
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.split("\n")[0]


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 1]}…"


def _entry(flag: str, text: str, indent: int = 6) -> list[str]:
    blank = " " * indent
    return [f"  {flag}", *textwrap.wrap(text, _width(), initial_indent=blank, subsequent_indent=blank)]


def _listed(configs: Mapping[str, Path]) -> list[str]:
    width = max(map(len, configs), default=0)
    return [_one_line(f"  {name:<{width}}  {headline(path)}") for name, path in configs.items()]


def _one_line(text: str) -> str:
    return text if len(text) <= _width() else f"{text[: _width() - 1]}…"


def _width() -> int:
    return min(shutil.get_terminal_size((120, 24)).columns, 120) - 1
