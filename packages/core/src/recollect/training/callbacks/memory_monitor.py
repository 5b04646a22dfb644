"""Memory metrics in the logs, and figures of what was read."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from matplotlib.figure import Figure
from torch import nn

from recollect.tracing import Trace, trace
from recollect.training.figures import numbered, pixels, save
from recollect.training.task import Task


class MemoryMonitor(Callback):
    """Logs occupancy, age and read entropy of every memory in the model, and draws ``Task.figures``.

    Figures are those of the middle batch of each validation and test, logged as ``memory/<module>/<figure>``
    to whichever loggers are on. Figures go to ``figures/`` in the run folder, TensorBoard and W&B. Names
    say what they show: ``test-confusion.png``, ``val-epoch009-read-1.png``; as tags ``test/confusion``.

    Args:
        figures: How many to draw each time; 0 draws none.
        every_n_epochs: After how many epochs of training they are drawn; a test always draws.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, figures: int = 4, every_n_epochs: int = 10) -> None:
        if figures < 0 or every_n_epochs < 1:
            raise ValueError(f"figures must be ≥ 0 and every_n_epochs ≥ 1, got {figures}, {every_n_epochs}")
        self.figures = figures
        self.every_n_epochs = every_n_epochs
        self.saved: list[Path] = []
        self._hooks: ExitStack | None = None
        self._trace: Trace | None = None
        self._batch: Any = None

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Trace the middle batch."""
        if (dataloader_idx, batch_idx) == (
            0,
            middle(trainer.num_val_batches),
        ) and not trainer.sanity_checking:
            self._begin(pl_module, batch)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log the metrics of the traced batch."""
        self._end(pl_module)

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Trace the middle batch."""
        if (dataloader_idx, batch_idx) == (0, middle(trainer.num_test_batches)):
            self._begin(pl_module, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log the metrics of the traced batch."""
        self._end(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw figures every ``every_n_epochs`` epochs."""
        turn = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if trainer.sanity_checking or (trainer.state.fn == "fit" and not turn):
            return
        self._draw(trainer, pl_module, f"val-epoch{trainer.current_epoch:03d}")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw figures."""
        self._draw(trainer, pl_module, "test")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop tracing."""
        self._close()

    # --- shared parts ---------------------------------------------------------------------------------------

    def _begin(self, task: LightningModule, batch: Any) -> None:
        self._close()
        self._hooks = ExitStack()
        self._trace = self._hooks.enter_context(trace(cast(nn.Module, task.model)))
        self._batch = batch

    def _end(self, task: LightningModule) -> None:
        if self._trace is None:
            return
        figures = {f"memory/{name}": value for name, value in self._trace.figures().items()}
        self._close()
        task.log_dict(figures, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)

    def _close(self) -> None:
        if self._hooks is not None:
            self._hooks.close()
        self._hooks = self._trace = None

    def _draw(self, trainer: Trainer, task: LightningModule, name: str) -> None:
        batch, self._batch = self._batch, None
        if batch is None or not self.figures or not isinstance(task, Task):
            return
        dry = cast(Any, trainer).fast_dev_run
        with torch.no_grad():  # every process takes part: sharded parameters have to be gathered
            figures = task.figures(batch)[: self.figures]
        if not trainer.is_global_zero:
            return
        for label, picture in zip(numbered(figures), figures, strict=True):
            figure = picture.draw()
            if dry:
                continue
            path = Path(trainer.default_root_dir) / "figures" / f"{name}-{label}.png"
            save(figure, path)
            self.saved.append(path)
            _log(trainer, f"{name.split('-')[0]}/{label}", figure)


def middle(batches: Sequence[int | float]) -> int:
    """Return the index of the batch to trace: the middle one, because the first may hold the shortest items.

    Example:
        >>> middle([11])
        5
    """
    return int(batches[0]) // 2 if math.isfinite(batches[0]) else 0


def _log(trainer: Trainer, tag: str, figure: Figure) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, pixels(figure), trainer.global_step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [pixels(figure)])
