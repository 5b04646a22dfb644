"""Run folders, found without reading a checkpoint: ``<root>/runs/<domain>/<config>/<time>``."""

from pathlib import Path

from recollect_cli.errors import CheckpointError


def domain(package: str) -> str:
    """Return the folder name of an application package's runs.

    Example:
        >>> domain("recollect_vision")
        'vision'
    """
    return package.removeprefix("recollect_")


def run_name(path: Path) -> str:
    """The name of a run's config: ``babi`` for ``…/runs/nlp/babi/<time>/config.yaml``, else the file's own.

    Example:
        >>> run_name(Path("configs/babi.yaml")), run_name(Path("runs/nlp/babi/2026-01-31/config.yaml"))
        ('babi', 'babi')
    """
    folders = [parent.name for parent in path.parents]
    if path.name == "config.yaml" and "runs" in folders[2:4]:
        return folders[1]
    return path.stem


def check_run(folder: Path) -> None:
    """Raise if a folder is not a run folder.

    Raises:
        CheckpointError: If it has no ``config.yaml``.
    """
    if not (folder / "config.yaml").is_file():
        raise CheckpointError(f"{folder} is no run folder: it has no config.yaml")


def last_checkpoint(run: Path) -> Path:
    """The most recent checkpoint of a run.

    Raises:
        CheckpointError: If it has none.
    """
    found = list((run / "checkpoints").glob("last*.ckpt"))
    if not found:
        raise CheckpointError(
            f"{run} has no last checkpoint: {run / 'checkpoints' / 'last.ckpt'} is not there"
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def newest_run(root: Path, package: str, name: str) -> Path:
    """The latest run of a package's config that has a checkpoint.

    Raises:
        CheckpointError: If there is none.
    """
    parent = root / "runs" / domain(package) / name
    found = list(parent.glob("*/checkpoints/last*.ckpt"))
    if not found:
        raise CheckpointError(
            f"there is no checkpoint to continue from: no run of {name!r} under {parent} has one. "
            "Train first, or give --ckpt_path a file, or --trainer.default_root_dir the folder that has runs/"
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent.parent


def run_of(path: Path) -> Path | None:
    """The run folder that a checkpoint or a ``config.yaml`` belongs to, if any."""
    for folder in (path.parent, path.parent.parent):
        if (folder / "config.yaml").is_file() and (folder / "checkpoints").is_dir():
            return folder
    return None
