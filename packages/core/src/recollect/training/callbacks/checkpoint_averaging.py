"""Checkpoint averaging: use the mean of the last weights instead of the last weights."""

from collections import deque
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

Weights = dict[str, Tensor]


class CheckpointAveraging(Callback):
    """Averages the weights of the last ``count`` snapshots (Vaswani et al. 2017, arXiv:1706.03762, 6.1).

    A snapshot is taken every ``every_n_steps`` steps. Validation is of the average, and checkpoints hold the
    average, so that the best one by validation is what is tested and predicts. They also hold what training
    goes on from: resuming changes nothing. Only floating-point parameters and buffers are averaged.

    Args:
        count: How many snapshots are averaged, at most.
        every_n_steps: How many optimiser steps lie between two of them.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(self, count: int = 5, every_n_steps: int = 100) -> None:
        if count < 1 or every_n_steps < 1:
            raise ValueError(f"count and every_n_steps must be positive, got {count} and {every_n_steps}")
        self.count = count
        self.every_n_steps = every_n_steps
        self._snapshots: deque[Weights] = deque(maxlen=count)
        self._taken_at = 0
        self._current: Weights | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take a snapshot every ``every_n_steps`` steps."""
        step = trainer.global_step
        if step > self._taken_at and step % self.every_n_steps == 0:
            self._snapshots.append(_copy(pl_module.state_dict()))
            self._taken_at = step

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap in the average during training."""
        if trainer.state.fn == "fit" and self._snapshots:
            self._current = _copy(pl_module.state_dict())
            pl_module.load_state_dict(self._averaged(self._current))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the trained weights."""
        self._restore(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the trained weights."""
        self._restore(pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as the weights, and the trained weights under another key for resuming."""
        if trainer.state.fn != "fit" or not self._snapshots:
            return
        trained = self._current or checkpoint["state_dict"]
        checkpoint["checkpoint_averaging"] = {
            "trained": trained,
            "snapshots": list(self._snapshots),
            "taken_at": self._taken_at,
        }
        checkpoint["state_dict"] = self._averaged(trained)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Load the trained weights if training resumes, and the average otherwise."""
        kept = checkpoint.get("checkpoint_averaging")
        if trainer.state.fn == "fit" and kept is not None:
            self._snapshots = deque(kept["snapshots"], maxlen=self.count)
            self._taken_at = kept["taken_at"]
            pl_module.load_state_dict(kept["trained"])  # the trainer has loaded the average already

    def _restore(self, module: LightningModule) -> None:
        if self._current is not None:
            module.load_state_dict(self._current)
            self._current = None

    def _averaged(self, trained: Weights) -> Weights:
        """Return the averages by name; tensors that cannot be averaged keep their current value."""
        averaged: Weights = {}
        for name, now in trained.items():
            past = [snapshot[name] for snapshot in self._snapshots if name in snapshot]
            if not now.is_floating_point() or len(past) < len(self._snapshots):
                averaged[name] = now
            else:
                # Snapshots from a checkpoint are on the CPU, wherever the model is.
                wide = [tensor.to(now.device, torch.float64) for tensor in past]
                averaged[name] = torch.stack(wide).mean(0).to(now.dtype)
        return averaged


def _copy(weights: Weights) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}
