"""On SIGINT and SIGTERM, save a checkpoint from which training resumes exactly."""

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from recollect.training.signals import STOPPING, Stopped

GRACE = 5.0
"""Seconds that one batch of a validation may go on after a signal."""

KEY = "interruption"
"""Where a checkpoint keeps what a stop has cut short."""


class Interrupted(Stopped):
    """A signal stopped the training, and ``checkpoint`` is saved; the exit code is 128 + the signal."""

    def __init__(self, signum: int, checkpoint: Path) -> None:
        super().__init__(signum)
        self.checkpoint = checkpoint


class CheckpointOnSignal(Callback):
    """On SIGINT or SIGTERM, saves ``checkpoints/last.ckpt`` in the run folder, and stops.

    Training stops after the batch, or, where gradients are accumulated, after the optimiser's step. A
    validation that is due is left to the resumed run. One that is under way is given up after its batch, or
    after ``GRACE`` seconds in the middle of it, and the resumed run does it anew; it is finished only where
    gradients are being accumulated meanwhile, which no checkpoint keeps. Processes that train together agree
    on the batch at which they stop, and never stop in the middle of one. A second SIGINT stops at once.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._saved: Path | None = None
        self._former: dict[int, Any] = {}
        self._process = os.getpid()
        self._accumulating = False
        self._validating: Trainer | None = None  # whose validation can be given up now
        self._given_up = False
        self._reopened = False
        self._over = False

    # --- signals --------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers after the trainer has set its own."""
        self._received = self._saved = None
        self._process = os.getpid()
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may
        for signum in STOPPING:
            self._former[signum] = signal.signal(signum, self._receive)
        self._former[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._lose_patience)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a process that loads data: its parent ends it
        if self._received is not None and signum == signal.SIGINT:
            raise Stopped(signum)
        self._received = signum
        print(f"\n{signal.Signals(signum).name}: saving a checkpoint and stopping …", flush=True)
        if self._validating is not None and self._validating.world_size == 1:
            signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _lose_patience(self, signum: int, frame: FrameType | None) -> None:
        if self._validating is not None and os.getpid() == self._process:
            self._give_up(self._validating)

    def _give_back(self) -> None:
        if self._former:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in self._former.items():
            signal.signal(signum, handler)
        self._former = {}

    # --- training -------------------------------------------------------------------------------------------

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop if a checkpoint was saved after the last batch; its metrics are logged by now."""
        self._stop_if_saved()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if a checkpoint was saved at the end of the last epoch."""
        self._stop_if_saved()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if a signal arrived; after the last batch of an epoch, ``on_train_epoch_end`` saves."""
        self._accumulating = (
            batch_idx + 1
        ) % trainer.accumulate_grad_batches > 0 and not trainer.is_last_batch
        if not self._accumulating and not trainer.is_last_batch and self._asked(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if a signal arrived."""
        if self._asked(trainer):
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the signal handlers, and stop if a signal arrived in the last epoch."""
        self._give_back()
        if self._saved is None and self._asked(trainer):  # after the last ``on_train_epoch_end``
            self._saved = self._path(trainer)
        self._stop_if_saved()

    # --- validation -----------------------------------------------------------------------------------------

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave a due validation to the resumed run if a signal arrived."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._close(trainer)
        if not self._accumulating:
            self._validating = trainer
            self._give_up_if_asked(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Abort the validation if a signal arrived."""
        self._give_up_if_asked(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not abort from here on: metrics must be logged once."""
        self._validating = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save after callbacks that swap weights have restored the trained ones."""
        self._give_back()
        if isinstance(exception, Interrupted) and self._given_up:
            self._save(trainer)
        self._validating, self._given_up = None, False

    # --- checkpoints ----------------------------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store what the stop interrupted."""
        if self._received is None or trainer.state.fn != "fit":
            return
        checkpoint[KEY] = {"validation": self._given_up, "over": trainer.should_stop}
        if self._given_up:
            begin_validation(checkpoint["loops"])

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore what the stop interrupted."""
        kept = checkpoint.get(KEY)
        if kept is None or trainer.state.fn != "fit":
            return
        trainer.should_stop = self._over = kept["over"]
        loop = trainer.fit_loop.epoch_loop
        self._reopened = kept["validation"] and loop.max_steps == checkpoint["global_step"]
        if trainer.strategy.restore_checkpoint_after_setup:
            self.on_fit_start(trainer, pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a finished training continue until the validation after its last step starts."""
        if self._reopened and trainer.fit_loop.epoch_loop.max_steps >= 0:
            trainer.fit_loop.epoch_loop.max_steps += 1

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch in which early stopping ended the training."""
        if self._over:
            progress = cast(Any, trainer.fit_loop.epoch_progress.current)
            progress.completed = progress.processed

    def _close(self, trainer: Trainer) -> None:
        if self._reopened:
            trainer.fit_loop.epoch_loop.max_steps -= 1
            self._reopened = False

    # --- shared parts ---------------------------------------------------------------------------------------

    def _asked(self, trainer: Trainer) -> bool:
        asked = self._received is not None
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        return asked

    def _give_up_if_asked(self, trainer: Trainer) -> None:
        if self._validating is not None and self._asked(trainer):
            self._give_up(trainer)

    def _give_up(self, trainer: Trainer) -> None:
        self._validating, self._given_up = None, True
        self._received = self._received or signal.SIGTERM
        raise Interrupted(self._received, self._path(trainer))

    def _save(self, trainer: Trainer) -> None:
        self._received = self._received or signal.SIGTERM  # where another process was told
        self._saved = self._path(trainer)
        trainer.save_checkpoint(self._saved, weights_only=False)

    def _path(self, trainer: Trainer) -> Path:
        folder = Path(trainer.default_root_dir).absolute() / "checkpoints"
        savers = [saver for saver in trainer.checkpoint_callbacks if isinstance(saver, ModelCheckpoint)]
        if savers and savers[0].dirpath is not None:
            folder = Path(savers[0].dirpath)
        return Path(trainer.strategy.broadcast(str(folder / "last.ckpt")))

    def _stop_if_saved(self) -> None:
        if self._saved is not None:
            raise Interrupted(self._received or signal.SIGTERM, self._saved)


def begin_validation(loops: dict[str, Any]) -> None:
    """Change the trainer's progress to that in the first batch of a validation: then it does the whole one.

    From any other progress the trainer would take the validation for done, or for none at all.
    """
    begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    loops["fit_loop"]["epoch_loop.val_loop.batch_progress"] = {
        "total": dict(begun),
        "current": dict(begun),
        "is_last_batch": False,
    }
