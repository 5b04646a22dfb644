"""Run folders: creation, removal, best checkpoint, and the process that writes to them."""

import shutil
import time
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

from recollect.training.checkpoints import load
from recollect.training.errors import ArgumentError, CheckpointError
from recollect_cli.runs import last_checkpoint

PLACEHOLDER = "{run}"
"""Stands for the run folder in a config."""


def new_folder(parent: Path, name: str) -> Path:
    """Create ``parent/name``, or ``name-2``, ``name-3``, … if it exists.

    Raises:
        ArgumentError: If the folder cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return _first_free(parent, name)
    except OSError as error:
        raise ArgumentError(
            f"the run folder cannot be made: {parent}: {error.strerror}; "
            "--trainer.default_root_dir names another place"
        ) from error


def _first_free(parent: Path, name: str) -> Path:
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def discard(folder: Path, failed: bool) -> None:
    """Remove the folder of a failed run.

    Args:
        folder: A folder that ``new_folder`` made.
        failed: Whether the run was refused or stopped; then a folder without checkpoints and figures is
            removed, otherwise only an empty one.
    """
    came = any(folder.glob("checkpoints/*")) or (folder / "metrics.csv").exists()
    if not any(folder.iterdir()) or (failed and not came):
        shutil.rmtree(folder)


def stamp() -> str:
    """Return the time as a sortable folder name."""
    return time.strftime("%Y-%m-%d_%H-%M-%S")


def best_checkpoint(run: Path) -> Path:
    """Return the best checkpoint by its ``ModelCheckpoint``, even if the folder was moved.

    Raises:
        CheckpointError: If there is none.
    """
    callbacks = load(last_checkpoint(run)).get("callbacks", {})
    for kind in ("ModelCheckpoint", "BestCheckpoint"):  # what the config names comes first
        for state in (state for name, state in callbacks.items() if name.startswith(kind)):
            path = run / "checkpoints" / Path(state["best_model_path"]).name
            if path.is_file():
                return path
    raise CheckpointError(
        f"{run} has no best checkpoint: no ModelCheckpoint has saved one; there is last.ckpt"
    )


def fill(value: Any, run: Path) -> Any:
    """Replace ``{run}`` by the run folder in nested settings.

    Example:
        >>> fill({"dirpath": "{run}/checkpoints", "names": ["{epoch}"]}, Path("runs/a"))
        {'dirpath': 'runs/a/checkpoints', 'names': ['{epoch}']}
    """
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, str(run))
    if isinstance(value, list):
        return [fill(item, run) for item in value]
    if hasattr(value, "items"):
        for key, item in list(value.items()):
            value[key] = fill(item, run)
    return value


def first_process() -> bool:
    """Whether this is the process that writes files."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0
