"""Loading a trained run in Python: its task with the weights of a checkpoint, and its data."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from recollect.training.checkpoints import check_package, check_task, load
from recollect.training.data import DataModule
from recollect.training.errors import CheckpointError, UserError
from recollect.training.loggers import quietly
from recollect.training.parser_errors import summarize_error
from recollect.training.run_folder import best_checkpoint
from recollect.training.task import Task
from recollect_cli.runs import check_run, last_checkpoint


class TrainedRun(NamedTuple):
    """A trained run.

    Attributes:
        task: In evaluation mode, on the CPU; ``task.model`` is the network, ``task.predict(batch)`` gives
            rows.
        data: With the vocabularies and statistics of the checkpoint.
    """

    task: Task
    data: DataModule


def load_run(
    folder: str | Path, checkpoint: Literal["best", "last"] | Path = "best", **data: Any
) -> TrainedRun:
    """Load the trained task and the data of a run folder from its ``config.yaml``.

    Args:
        folder: The run folder, ``runs/<domain>/<config>/<time>``.
        checkpoint: Which of its checkpoints, or a file. Where no ``ModelCheckpoint`` has chosen a best one,
            the last is taken.
        data: Arguments of the data module to replace, ``path="my.txt"`` for instance.

    Raises:
        CheckpointError: If there is no run or no checkpoint, or the config or the checkpoint cannot be used.

    A trained run answers in a few lines::

        task, data = load_run("runs/nlp/stories/2026-01-31_12-00-00", path="my.txt")
        with torch.no_grad():
            rows = [row for batch in data.predict_dataloader() for row in task.predict(batch)]
    """
    folder = Path(folder)
    task, module = _instantiate(folder, data)
    return restore(task, module, _chosen(folder, checkpoint))


def restore(task: Task, data: DataModule, path: Path) -> TrainedRun:
    """Restore a task and its data from the checkpoint ``path``.

    Raises:
        CheckpointError: If it is of another task or data, or does not fit.
    """
    saved = load(path)
    check_task(saved, task, data, path)
    data.load_state_dict(saved[type(data).__qualname__])
    with quietly():
        trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    cast(Any, trainer).datamodule = data
    data.trainer = task.trainer = trainer
    task.configure_model()
    task.on_load_checkpoint(saved)
    task.load_state_dict(saved["state_dict"])
    return TrainedRun(task.eval(), data)


def report_runs(
    package: str, folders: Sequence[str | Path], report: Callable[[str, TrainedRun], None]
) -> None:
    """Report on each run folder, after all of them have been checked.

    Args:
        package: The package whose command it is.
        folders: The run folders.
        report: Prints the report of a folder, given the folder and its run, the data fetched.

    Raises:
        CheckpointError: If a folder is not a run of the package.
    """
    for folder in folders:
        check_run(Path(folder))
        path = _chosen(Path(folder), "best")
        check_package(load(path), package, path)
    for folder in folders:
        run = load_run(folder)
        run.data.prepare_data()
        report(str(folder), run)


def _instantiate(folder: Path, data: dict[str, Any]) -> tuple[Task, DataModule]:
    """The untrained task of a run and its data module, with the arguments ``data`` replaced."""
    check_run(folder)
    settings = _read_settings(folder / "config.yaml")
    settings["data"]["init_args"] = (settings["data"].get("init_args") or {}) | data
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(Task, "model", subclass_mode=True)
    parser.add_lightning_class_args(DataModule, "data", subclass_mode=True)
    try:
        parts = parser.instantiate_classes(parser.parse_object(settings))
    except (argparse.ArgumentError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise CheckpointError(f"{folder / 'config.yaml'}: {summarize_error(str(error))}") from error
    return parts.model, parts.data


def _read_settings(path: Path) -> dict[str, Any]:
    """The settings of task and data in the config of a run."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {part: dict(settings[part]) for part in ("model", "data")}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not the config of a run: it has no model and data") from error


def _chosen(folder: Path, checkpoint: str | Path) -> Path:
    if checkpoint == "last":
        return last_checkpoint(folder)
    if checkpoint != "best":
        return Path(checkpoint)
    try:
        return best_checkpoint(folder)
    except CheckpointError:
        return last_checkpoint(folder)
