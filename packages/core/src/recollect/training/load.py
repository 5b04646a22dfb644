"""A trained run in Python: its task with the weights of a checkpoint, and its data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from recollect.training.checkpoints import check_task, command_of, load, package_of
from recollect.training.data import DataModule
from recollect.training.errors import CheckpointError
from recollect.training.loggers import quietly
from recollect.training.run_folder import best_checkpoint
from recollect.training.task import Task
from recollect_cli.runs import last_checkpoint


class TrainedRun(NamedTuple):
    """What a run left.

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
    """The trained task and the data of a run folder, made from its ``config.yaml``.

    Args:
        folder: The run folder, ``runs/<domain>/<config>/<time>``.
        checkpoint: Which of its checkpoints, or a file. Where no ``ModelCheckpoint`` has chosen a best one,
            the last is taken.
        data: Arguments of the data module to replace, ``path="my.txt"`` for instance.

    Raises:
        CheckpointError: If there is no run or no checkpoint, or it does not fit the config.

    A trained run answers in a few lines::

        task, data = load_run("runs/nlp/stories/2026-01-31_12-00-00", path="my.txt")
        with torch.no_grad():
            rows = [row for batch in data.predict_dataloader() for row in task.predict(batch)]
    """
    folder = Path(folder)
    if not (folder / "config.yaml").is_file():
        raise CheckpointError(f"{folder} is no run folder: it has no config.yaml")
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    settings["data"].setdefault("init_args", {}).update(data)
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(Task, "model", subclass_mode=True)
    parser.add_lightning_class_args(DataModule, "data", subclass_mode=True)
    parts = parser.instantiate_classes(
        parser.parse_object({part: settings[part] for part in ("model", "data")})
    )
    return restore(parts.model, parts.data, _chosen(folder, checkpoint))


def restore(task: Task, data: DataModule, path: Path) -> TrainedRun:
    """Give a task and its data what the checkpoint ``path`` holds.

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
    """Report on each run folder.

    Args:
        package: The package whose command it is; runs of another are refused.
        folders: The run folders.
        report: Is given a folder and what is in it, its data fetched, and prints.

    Raises:
        CheckpointError: If a folder is no run of the package.
    """
    for folder in folders:
        run = load_run(folder)
        made = package_of(type(run.task).__module__)
        if made not in (None, package):
            raise CheckpointError(
                f"{folder} is a run of {made}, not of {package}: use {command_of(str(made))}"
            )
        run.data.prepare_data()
        report(str(folder), run)


def _chosen(folder: Path, checkpoint: str | Path) -> Path:
    if checkpoint == "last":
        return last_checkpoint(folder)
    if checkpoint != "best":
        return Path(checkpoint)
    try:
        return best_checkpoint(folder)
    except CheckpointError:
        return last_checkpoint(folder)
