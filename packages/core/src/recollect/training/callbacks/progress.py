"""Progress bar, and one permanent line for each epoch."""

import time
from collections.abc import Mapping
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
    RichProgressBar,
)
from rich import get_console
from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from torch import Tensor

from recollect.training.callbacks.parts_summary import PartsSummary

ON_BAR = 3
"""Validation metrics on the bar."""

UNCERTAINTIES = ("_se", "_ci95", "_low", "_high")
"""How the names of standard errors and bounds of intervals end."""

ON_LINE = 6
"""Validation metrics on the line of an epoch; ``metrics.csv`` has all of them."""


class EpochProgress(RichProgressBar):
    """Lightning's progress bar with epochs counted from 1, and one line for each epoch that has ended.

    Only a terminal shows the bar. A log file gets the lines: of each training epoch the mean training loss,
    the main validation metrics and the seconds; of a test, validation or prediction its batches and seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._started = 0.0
        self._validated = False
        self._loss: Tensor | None = None
        self._steps = 0

    @property
    def is_enabled(self) -> bool:
        """Whether to show the bar: only a terminal can redraw it."""
        return super().is_enabled and get_console().is_terminal

    # --- the bar --------------------------------------------------------------------------------------------

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Return the columns: description, bar, batches and remaining time."""
        return [
            TextColumn("{task.description}"),
            # What is left of the terminal's width goes to the metrics.
            BarColumn(bar_width=16, complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True, min_width=5)),
        ]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the training loss and the main validation metrics."""
        if trainer.sanity_checking:
            return {}
        found = trainer.callback_metrics
        names = [name for name in ("train/loss",) if name in found]
        names += main_metrics(found, monitored(trainer), ON_BAR)
        return {name: float(found[name]) for name in names}

    def _init_progress(self, trainer: Trainer) -> None:
        super()._init_progress(trainer)
        if self._metric_component is not None:
            self._metric_component._table_column = Column(no_wrap=True, overflow="ellipsis")

    def _get_train_description(self, current_epoch: int) -> str:
        description = f"Epoch {epoch_of(self.trainer, current_epoch)}"
        return f"{description:{len(self.validation_description)}}"

    # --- the lines ------------------------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting."""
        super().on_train_epoch_start(trainer, pl_module)
        self._begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of a step on its device; reading it here would wait for the step."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if isinstance(outputs, Mapping) and "loss" in outputs:
            # Lightning divides the loss of a step by the batches that are accumulated.
            loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
            self._loss = loss if self._loss is None else self._loss + loss
            self._steps += 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mark the metrics as new, or print the line of a separate validation."""
        super().on_validation_end(trainer, pl_module)
        self._validated = not trainer.sanity_checking
        if trainer.state.fn == "validate":
            self._end(trainer, "validation", sum(trainer.num_val_batches))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of an epoch."""
        super().on_train_epoch_end(trainer, pl_module)
        parts = [f"epoch {epoch_of(trainer, trainer.current_epoch)}"]
        if self._loss is not None:
            parts.append(f"train/loss {float(self._loss) / self._steps:.4g}")
        if self._validated:
            found = trainer.callback_metrics
            names = main_metrics(found, monitored(trainer), ON_LINE)
            parts += [f"{name} {float(found[name]):.4g}" for name in names]
        self._print(trainer, parts)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting if this validation is not part of training."""
        super().on_validation_start(trainer, pl_module)
        if trainer.state.fn == "validate":
            self._begin()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting."""
        super().on_test_start(trainer, pl_module)
        self._begin()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the test."""
        super().on_test_end(trainer, pl_module)
        self._end(trainer, "test", sum(trainer.num_test_batches))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting."""
        super().on_predict_start(trainer, pl_module)
        self._begin()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the prediction."""
        super().on_predict_end(trainer, pl_module)
        self._end(trainer, "prediction", sum(trainer.num_predict_batches))

    def _begin(self) -> None:
        self._started, self._validated, self._loss, self._steps = time.monotonic(), False, None, 0

    def _end(self, trainer: Trainer, name: str, batches: float) -> None:
        self._print(trainer, [name, f"{batches:.0f} batch{'es' if batches != 1 else ''}"])

    def _print(self, trainer: Trainer, parts: list[str]) -> None:
        if trainer.is_global_zero:
            parts.append(f"{time.monotonic() - self._started:.1f} s")
            get_console().print("  ".join(parts), soft_wrap=True, highlight=False, markup=False)


def epoch_of(trainer: Trainer, epoch: int) -> str:
    """``3/12`` for the third epoch of twelve, and ``3`` where there is no last one."""
    last = trainer.max_epochs
    return f"{epoch + 1}/{last}" if last is not None and last > 0 else str(epoch + 1)


def main_metrics(metrics: Mapping[str, Any], monitored: list[str], count: int) -> list[str]:
    """Return the names of the validation metrics by importance: monitored ones, the loss, then others.

    Parts of a metric, such as the error on one task of several, come after these, and its uncertainty last.

    Example:
        >>> metrics = dict.fromkeys(["val/error/a", "val/accuracy", "val/f1", "val/loss", "train/loss"], 0.5)
        >>> main_metrics(metrics, ["val/f1"], 3)
        ['val/f1', 'val/loss', 'val/accuracy']
    """
    names = [name for name in metrics if name.startswith("val/")]
    names.sort(
        key=lambda name: (
            name not in monitored,
            name != "val/loss",
            name.endswith(UNCERTAINTIES),
            name.count("/"),
        )
    )
    return names[:count]


def monitored(trainer: Trainer) -> list[str]:
    """Return the metrics that choose the best checkpoint or stop training early."""
    callbacks = cast(Any, trainer).callbacks  # set by a connector, where mypy does not see it
    watching = [part for part in callbacks if isinstance(part, ModelCheckpoint | EarlyStopping)]
    return [part.monitor for part in watching if part.monitor]


def screen_callbacks(callbacks: list[Callback], bar: bool | None, summary: bool | None) -> list[Callback]:
    """Add a progress bar and a model summary to the callbacks unless the config names its own.

    Args:
        callbacks: Those of the config.
        bar: Whether there is a progress bar at all; ``None`` stands for true, as in Lightning's ``Trainer``.
        summary: Whether there is a summary at all, likewise.
    """
    for kind, own, wanted in ((ProgressBar, EpochProgress, bar), (ModelSummary, PartsSummary, summary)):
        if wanted is False:
            # Lightning raises where a callback is named and switched off as well.
            callbacks = [callback for callback in callbacks if not isinstance(callback, kind)]
        elif not any(isinstance(callback, kind) for callback in callbacks):
            callbacks = [*callbacks, own()]
    return callbacks
