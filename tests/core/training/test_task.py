"""A task names the kind of data it needs, and gets no other."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from torchmetrics import MeanMetric, MetricCollection

from recollect.training import DataModule, Task
from recollect.training.data import Split
from recollect.training.errors import ArgumentError, NonFiniteError


class Numbers(DataModule):
    """Eight numbers."""

    width = 1

    def __init__(self, value: float = 1.0) -> None:
        super().__init__(batch_size=4, num_workers=0)
        self.value = value

    def dataset(self, split: Split) -> TensorDataset | None:
        return TensorDataset(torch.full((8, self.width), self.value)) if split == "train" else None


class Letters(DataModule):
    """Another kind."""

    def __init__(self) -> None:
        super().__init__(batch_size=4)

    def dataset(self, split: Split) -> TensorDataset | None:
        return None


class MoreNumbers(Numbers):
    """A kind of numbers."""


class Sum(Task[Numbers]):
    """Learns a sum."""

    def build_model(self, data: Numbers) -> nn.Module:
        return nn.Linear(data.width, 1)

    def build_metrics(self, data: Numbers) -> MetricCollection:
        return MetricCollection({"mean": MeanMetric()})

    def training_loss(self, batch: Any) -> tuple[Tensor, int]:
        return self.model(batch[0]).mean(), len(batch[0])

    def evaluate(self, batch: Any, metrics: MetricCollection) -> None:
        return None

    def predict(self, batch: Any) -> list[dict[str, Any]]:
        return []


class FurtherSum(Sum):
    """Needs the same data."""


class AnySum(Task):
    """Names no kind of data."""


def fit(task: Task, data: DataModule) -> None:
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    Trainer(accelerator="cpu", max_steps=1, limit_val_batches=0, **quiet).fit(task, datamodule=data)


def test_the_kind_of_data_is_the_argument_of_task_and_inherited() -> None:
    assert Sum.data_type is FurtherSum.data_type is Numbers
    assert AnySum.data_type is Task.data_type is DataModule


@pytest.mark.parametrize("data", [Numbers(), MoreNumbers()])
def test_data_is_the_data_module_of_the_trainer(data: Numbers) -> None:
    task = FurtherSum()
    fit(task, data)
    assert task.data is data


def test_other_data_is_refused() -> None:
    with pytest.raises(ArgumentError, match="FurtherSum needs a Numbers for --data, not Letters"):
        fit(FurtherSum(), Letters())


def test_a_loss_that_is_not_finite_names_the_batch() -> None:
    with pytest.raises(
        NonFiniteError, match=r"train loss is nan at step 0, in batch 0 .*batch\[0\] \(4 of 4"
    ):
        fit(Sum(), Numbers(float("nan")))
