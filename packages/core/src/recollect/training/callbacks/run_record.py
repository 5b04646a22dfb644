"""What every run has: its resolved config, checkpoints in its folder, a clock, interruption, figures."""

import os
from pathlib import Path
from typing import Any, cast

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer

from recollect.training.callbacks.interruption import Interruption
from recollect.training.callbacks.memory_monitor import MemoryMonitor


class RunRecord(Callback):
    """Writes the resolved config to the run folder, and hands it to the loggers.

    Args:
        folder: The run folder.
        config: The resolved config.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.config = config

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and log; what a resumed run had before is kept under another name if it differs."""
        if not trainer.is_global_zero or cast(Any, trainer).fast_dev_run:
            return
        path = self.folder / "config.yaml"
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            number = len(list(self.folder.glob("config-*.yaml"))) + 1
            os.replace(path, self.folder / f"config-{number}.yaml")
        path.write_text(text, encoding="utf-8")
        for logger in trainer.loggers:
            logger.log_hyperparams(self.config)


class LastCheckpoint(ModelCheckpoint):
    """Keeps the state at the end of each epoch as ``last.ckpt``, whatever the metrics say.

    Args:
        dirpath: Its folder.
    """

    def __init__(self, dirpath: str) -> None:
        super().__init__(dirpath, filename="last", enable_version_counter=False)


def complete_callbacks(
    callbacks: list[Callback], folder: Path, checkpoints: bool, max_time: Any = None
) -> list[Callback]:
    """The configured callbacks and those that every run has, where the config does not name them.

    Checkpoints go to ``checkpoints`` in the run folder, the last one always among them as ``last.ckpt``, so
    that a run can be resumed.
    """
    where = str((folder / "checkpoints").absolute())
    savers = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    if not checkpoints:
        callbacks = [callback for callback in callbacks if callback not in savers]
        savers = []
    for saver in savers:
        if saver.dirpath is None:
            saver.dirpath = where
        # Lightning's save_last writes only when the metric has improved, and that is not the last state.
        saver.save_last = False
    if checkpoints:
        callbacks = [*callbacks, LastCheckpoint(where)]
    for added in (Interruption(), MemoryMonitor(), Timer(duration=max_time)):
        if not any(isinstance(callback, type(added)) for callback in callbacks):
            callbacks = [*callbacks, added]
    return callbacks
