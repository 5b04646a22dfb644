"""The base of every task: what is trained, measured and predicted, by template hooks."""

from abc import abstractmethod
from typing import Any, Literal, cast

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import MetricCollection

from recollect.training.data import DataModule
from recollect.training.pictures import ReadPicture


class Task(LightningModule):
    """What is trained, measured and predicted; a subclass fills in the hooks, so that every task reads alike.

    A subclass takes typed arguments of its own, passes ``optimizer``, ``scheduler`` and ``scheduler_interval`` on,
    and implements ``build_model``, ``build_metrics``, ``training_loss``, ``evaluate`` and ``predict``. It saves no
    hyperparameters: what a run was made of is its ``config.yaml``, and nothing in a checkpoint overrides a flag.

    Args:
        optimizer: Makes the optimiser from the parameters; in YAML a ``class_path`` with ``init_args``.
        scheduler: Makes the learning-rate schedule from the optimiser; constant by default.
        scheduler_interval: Whether the schedule counts optimiser steps or epochs.
    """

    model: nn.Module
    """What ``build_model`` made; there once the trainer has called ``configure_model``."""

    def __init__(
        self,
        optimizer: OptimizerCallable = AdamW,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def build_model(self, data: DataModule) -> nn.Module:
        """The network, its sizes taken from the data module, which has been set up."""

    @abstractmethod
    def build_metrics(self, data: DataModule) -> MetricCollection:
        """What is measured in validation and test, by name; logged as ``val/<name>`` and ``test/<name>``."""

    @abstractmethod
    def training_loss(self, batch: Any) -> tuple[Tensor, int]:
        """The loss to descend, and over how many items it is a mean; logged as ``train/loss``."""

    @abstractmethod
    def evaluate(self, batch: Any, metrics: MetricCollection) -> Tensor | None:
        """Update ``metrics`` with one batch; the mean loss, if any, is logged as ``val/loss`` or ``test/loss``."""

    @abstractmethod
    def predict(self, batch: Any) -> list[dict[str, Any]]:
        """One row for each item of the batch, of what JSON can hold."""

    # --- what a subclass may replace ------------------------------------------------------------------------

    def summarize(self, stage: Literal["val", "test"], values: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is logged at the end of an epoch, by name without the stage; ``values`` as the metrics gave them."""
        return values

    def pictures(self, batch: Any) -> list[ReadPicture]:
        """What the memory read for a few items of the batch, to be drawn; none by default."""
        return []

    def items(self, batch: Any) -> int:
        """How many items an evaluated batch holds, to weigh its loss; by default the length of its first tensor."""
        raise NotImplementedError

    # --- what the trainer calls -----------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Build the model and its metrics, once."""
        if "model" not in self._modules:
            self.model = self.build_model(cast(Any, self.trainer).datamodule)
