"""Results of a run: ``results.json`` and the table on the screen."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Timer
from rich.console import Console
from rich.table import Table
from torch import nn


def describe_device(trainer: Trainer) -> str:
    """Describe the device and the number of devices."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
    return f"{trainer.world_size} × {name}" if trainer.world_size > 1 else name


def code_commit(file: str = __file__) -> str | None:
    """The git commit of the checkout that the code runs from.

    Args:
        file: A file of the code.

    Returns:
        The commit, with ``-dirty`` if the packages differ from it; ``None`` if git does not track the code.
    """

    def git(*command: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(Path(file).parent), *command], capture_output=True, text=True, check=False
            )
        except OSError:  # no git on this machine
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", file) is None:
        return None
    commit = git("rev-parse", "HEAD")
    changed = git("diff", "--quiet", "HEAD", "--", ":/packages") is None
    return f"{commit}-dirty" if commit and changed else commit


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, sharded or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def training_seconds(callbacks: list[Callback]) -> float:
    """Return the seconds of training including validation, summed over resumed parts."""
    return sum(timer.time_elapsed("train") for timer in callbacks if isinstance(timer, Timer))


def relative(path: str | None, folder: Path) -> str | None:
    """Return a path relative to the run folder if it lies in it, so that the folder can be moved."""
    if path is None:
        return None
    found, folder = Path(path).absolute(), folder.absolute()
    return found.relative_to(folder).as_posix() if found.is_relative_to(folder) else str(found)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write JSON atomically."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def show_results(console: Console, metrics: dict[str, float], lines: Sequence[tuple[str, str]]) -> None:
    """Print a table of metrics, then notes and paths."""
    table = Table("metric", "value", header_style="bold")
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4g}")
    if metrics:
        console.print(table)
    for name, line in lines:
        console.print(f"{name:<12} {line}", soft_wrap=True, highlight=False, markup=False)
