"""Random states in checkpoints: a resumed run draws the numbers of an uninterrupted one."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from recollect.training.seeding import random_states, set_random_states

KEY = "random_states"
"""Where a checkpoint keeps the states of each process's generators."""


class Resuming(Callback):
    """Keeps the states of all random number generators in checkpoints, one set for each process.

    They are set when training goes on: before the first hook of an epoch, a batch or a validation that the
    resumed run begins. A checkpoint made in the middle of a validation has the states of its beginning, since
    the resumed run does the validation anew. What the data draw is not among them: that follows from the
    place in the epoch alone (``recollect.training.loader``).
    """

    def __init__(self) -> None:
        self._before_validation: dict[str, Any] | None = None
        self._pending: list[dict[str, Any]] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the random states of all processes."""
        if trainer.state.fn != "fit":
            return
        own = self._before_validation or random_states(trainer.strategy.root_device)
        states: list[Any] = [own] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(states, own)
        checkpoint[KEY] = states

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the states until they are set; warn if a process has none."""
        if trainer.state.fn != "fit":
            return
        self._pending = checkpoint.get(KEY, [])
        if len(self._pending) == trainer.world_size or not trainer.is_global_zero:
            return
        found = (
            f"those of {len(self._pending)} processes, not {trainer.world_size}" if self._pending else "none"
        )
        print(
            f"note: of the states of random number generators the checkpoint has {found}: "
            "training goes on with other random numbers than it would have without the stop",
            flush=True,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the position of the loader.

        The trainer does not where it has made the loader before, because a schedule asked for its length.
        """
        trainer.fit_loop._load_combined_loader_states()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the states at the start of an epoch."""
        self._set(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the states within an epoch."""
        self._set(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the states before a validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._set(trainer)
            self._before_validation = random_states(trainer.strategy.root_device)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mark the validation as finished for later checkpoints."""
        self._before_validation = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the states if training was complete; the test follows."""
        self._set(trainer)

    def _set(self, trainer: Trainer) -> None:
        states, self._pending = self._pending, None
        if states and trainer.global_rank < len(states):
            set_random_states(states[trainer.global_rank], trainer.strategy.root_device)
