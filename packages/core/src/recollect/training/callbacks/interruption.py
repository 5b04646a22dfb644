"""SIGINT and SIGTERM leave a checkpoint behind."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class Interrupted(SystemExit):
    """Training was asked to stop, and saved ``checkpoint`` before; the exit code is 128 + the signal."""

    def __init__(self, signum: int, checkpoint: Path) -> None:
        super().__init__(128 + signum)
        self.signum = signum
        self.checkpoint = checkpoint


class Interruption(Callback):
    """On SIGINT or SIGTERM, saves ``checkpoints/last.ckpt`` in the run folder after the batch, and stops.

    A validation that is under way or due is finished first, so that the resumed run lacks nothing; the
    checkpoint is there before that all the same. A second SIGINT stops at once. Processes that train together
    agree on the batch at which they stop.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._saved: Path | None = None
        self._former: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals, after the trainer has set its own handlers."""
        self._received = self._saved = None
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._former[signum] = signal.signal(signum, self._receive)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop if a checkpoint was saved after the last batch, whose figures are logged by now."""
        self._stop_if_saved()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if a checkpoint was saved at the end of the last epoch, which is all done by now."""
        self._stop_if_saved()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, if a signal came."""
        self._save_if_asked(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save, if a signal came; in the middle of training only."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._saved is None:
            self._save_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save with what validation has added, if a signal came."""
        self._save_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back, and stop if one came in the last epoch."""
        self._give_back()
        self._stop_if_saved()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._give_back()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._received is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = signum
        print(f"\n{signal.Signals(signum).name}: saving a checkpoint and stopping …", flush=True)

    def _save_if_asked(self, trainer: Trainer) -> None:
        asked = self._received is not None
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if not asked:
            return
        folder = Path(trainer.default_root_dir).absolute() / "checkpoints"
        savers = [saver for saver in trainer.checkpoint_callbacks if isinstance(saver, ModelCheckpoint)]
        if savers and savers[0].dirpath is not None:
            folder = Path(savers[0].dirpath)
        path = Path(trainer.strategy.broadcast(str(folder / "last.ckpt")))
        trainer.save_checkpoint(path, weights_only=False)
        self._saved = path

    def _stop_if_saved(self) -> None:
        if self._saved is not None:
            raise Interrupted(self._received or signal.SIGTERM, self._saved)

    def _give_back(self) -> None:
        for signum, handler in self._former.items():
            signal.signal(signum, handler)
        self._former = {}
