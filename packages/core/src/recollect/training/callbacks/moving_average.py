"""An exponential moving average of the weights stands in for the weights."""

import warnings
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging


@final
class MovingAverage(EMAWeightAveraging):
    """w̄ ← d w̄ + (1 − d) w after every step (Polyak and Juditsky 1992); buffers are averaged alike.

    Lightning's own, with two things mended: a checkpoint that is tested or predicts gives the average, which
    is what was validated, rather than the weights that training goes on from; and models that are built by
    ``configure_model``, as ours are, need no warning.

    Args:
        decay: d.

    Raises:
        ValueError: If ``decay`` is out of range.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        super().__init__(decay=decay)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called by Lightning."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*overrides the configure_model")
            super().setup(trainer, pl_module, stage)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on from the trained weights where training is resumed; otherwise the average stays."""
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as the weights, and beside it what training goes on from."""
        if trainer.state.fn == "fit":
            super().on_save_checkpoint(trainer, pl_module, checkpoint)
