"""Checkpoints: written atomically, signed by their task, refused by any other."""

import errno
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from recollect.training.errors import CheckpointError, DiskError

SIGNATURE = "recollect"
"""Where a checkpoint keeps whose it is."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file and renames it once it is safely on disk.

    A full disk, a crash or a kill leaves the previous checkpoint intact.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save to ``path``.

        Raises:
            DiskError: If there is no room, or the folder cannot be written to.
        """
        if storage_options is not None:
            raise TypeError("AtomicCheckpointIO takes no storage_options")
        path = Path(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        # Besides OSError: torch's own writer turns some disk errors into RuntimeError.
        disk_errors = (OSError, RuntimeError)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(checkpoint, partial)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        except disk_errors as error:
            reason = "no space is left on the disk" if _full(error) else str(error)
            kept = "; the former checkpoint of that name is untouched" if path.exists() else ""
            raise DiskError(f"the checkpoint {path} could not be written: {reason}{kept}") from error


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())


def _full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint; tensors stay on disk until they are used.

    Raises:
        CheckpointError: If there is none, or it is damaged.
    """
    file = path / "meta.pt" if path.is_dir() else path  # sharded checkpoints are folders
    if not file.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        checkpoint = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path} is not a checkpoint that can be read: {error}") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path} is not a checkpoint of a task: it holds a {type(checkpoint).__name__}")
    return checkpoint


def sign(checkpoint: dict[str, Any], task: object, data: object) -> None:
    """Sign a checkpoint with its task and data."""
    checkpoint.setdefault(SIGNATURE, {}).update(task=_name(task), data=_name(data))


def sign_package(checkpoint: dict[str, Any], package: str) -> None:
    """Sign a checkpoint with the package whose command made it."""
    checkpoint.setdefault(SIGNATURE, {})["package"] = package


def check_package(checkpoint: dict[str, Any], package: str, path: Path) -> None:
    """Raise if another package's command made the checkpoint.

    Without a signature the task's class tells the package; a custom task belongs to any.

    Raises:
        CheckpointError: If it is of another package.
    """
    signature = checkpoint.get(SIGNATURE, {})
    made = signature.get("package") or package_of(signature.get("task", ""))
    if made not in (None, package):
        raise CheckpointError(f"the checkpoint {path} is of {made}, not of {package}: use {command_of(made)}")


def package_of(name: str) -> str | None:
    """Return the application package of a class by its dotted name; ``None`` for custom classes.

    Example:
        >>> package_of("recollect_vision.tasks.Classification"), package_of("mine.MyTask")
        ('recollect_vision', None)
    """
    top = name.partition(".")[0]
    return top if top.startswith("recollect_") else None


def command_of(package: str) -> str:
    """The name of a package's command."""
    return package.replace("_", "-")


def check_task(
    checkpoint: dict[str, Any], task: object, data: object = None, path: Path | None = None
) -> None:
    """Raise if a checkpoint is of another task, or of other data if ``data`` is given.

    Raises:
        CheckpointError: If it is not signed by their classes.
    """
    signature = checkpoint.get(SIGNATURE)
    which = f"the checkpoint {path}" if path else "the checkpoint"
    if signature is None:
        raise CheckpointError(f"{which} was not written by a task of this project")
    for kind, thing in (("task", task), ("data", data)):
        if thing is not None and signature[kind] != _name(thing):
            raise CheckpointError(
                f"{which} has {signature[kind]} for its {kind}, but the config names {_name(thing)}; "
                "give --config the config.yaml that stands in the checkpoint's run folder"
            )


def check_fit(saved: dict[str, Any], own: dict[str, Any]) -> None:
    """Raise if weights have other names or sizes; the message shows the first few.

    Raises:
        CheckpointError: If they do not fit.
    """
    wrong = [f"{name} is missing from it" for name in own.keys() - saved.keys()]
    wrong += [f"{name} is unknown to the model" for name in saved.keys() - own.keys()]
    wrong += [
        f"{name} is {tuple(saved[name].shape)} in it, {tuple(own[name].shape)} in the model"
        for name in own.keys() & saved.keys()
        if isinstance(own[name], Tensor) and saved[name].shape != own[name].shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
        raise CheckpointError(
            "the checkpoint does not fit the model that the config describes: "
            f"{'; '.join(sorted(wrong)[:5])}{more}"
        )


def _name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
