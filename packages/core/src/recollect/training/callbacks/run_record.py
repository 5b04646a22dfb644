"""Callbacks of every run: resolved config, checkpoints, timer, signals, figures."""

import os
from pathlib import Path
from typing import Any, cast

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from torch import Tensor

from recollect.training.callbacks.memory_monitor import MemoryMonitor
from recollect.training.callbacks.resuming import Resuming
from recollect.training.callbacks.signals import CheckpointOnSignal
from recollect.training.checkpoints import sign_package


class RunRecord(Callback):
    """Writes the resolved config to the run folder, and hands it to the loggers.

    Args:
        folder: The run folder.
        config: The resolved config.
        package: Import name of the package whose command it is; checkpoints are signed with it.
    """

    def __init__(self, folder: Path, config: dict[str, Any], package: str) -> None:
        self.folder = folder
        self.config = config
        self.package = package

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Sign the checkpoint."""
        sign_package(checkpoint, self.package)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and log the config; a different one of a resumed run is kept under another name."""
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
    """Keeps the state at the end of each epoch, and of a validation within it, as ``last.ckpt``.

    Args:
        dirpath: Its folder.
    """

    def __init__(self, dirpath: str) -> None:
        super().__init__(dirpath, filename="last", enable_version_counter=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of every epoch, even if validation runs within epochs."""
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


class BestCheckpoint(ModelCheckpoint):
    """Keeps the state with the lowest ``val/loss`` as ``best.ckpt``, if that is measured.

    Args:
        dirpath: Its folder.
    """

    def __init__(self, dirpath: str) -> None:
        super().__init__(dirpath, filename="best", monitor="val/loss", enable_version_counter=False)

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        if self.monitor in monitor_candidates:
            super()._save_topk_checkpoint(trainer, monitor_candidates)


def tested_checkpoint(trainer: Trainer) -> str | None:
    """The checkpoint that ``fit`` tests.

    That is the best one by the first ``ModelCheckpoint`` that the config names. A config that names none
    wants the last state tested, as one whose schedule ends with small steps does; the best one by the
    validation loss is kept beside it, as ``best.ckpt``.
    """
    savers = [saver for saver in trainer.checkpoint_callbacks if not isinstance(saver, BestCheckpoint)]
    return getattr(savers[0], "best_model_path", "") or None if savers else None


def complete_callbacks(
    callbacks: list[Callback], folder: Path, checkpoints: bool, max_time: Any = None
) -> list[Callback]:
    """Add the callbacks that every run has to the configured ones.

    Checkpoints go to ``checkpoints`` in the run folder: the last one as ``last.ckpt``, so that a run can be
    resumed, and the best one, by what the config's ``ModelCheckpoint`` monitors or else by ``val/loss``.
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
        best = [] if any(saver.monitor for saver in savers) else [BestCheckpoint(where)]
        callbacks = [*callbacks, *best, LastCheckpoint(where)]  # the last one holds what the best one noted
    for added in (Resuming(), CheckpointOnSignal(), MemoryMonitor(), Timer(duration=max_time)):
        if not any(isinstance(callback, type(added)) for callback in callbacks):
            callbacks = [*callbacks, added]
    return callbacks
