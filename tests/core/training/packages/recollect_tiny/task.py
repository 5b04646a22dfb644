"""Recall with a memory of four slots."""

import os
import signal
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from recollect import VectorStorage
from recollect.memories.base import Memory
from recollect.storages.vector_state import VectorState
from recollect.training import ReadHeatmap, Task
from recollect_tiny.data import COLOURS, NAMES, Batch, RecallData


class PairMemory(Memory[VectorState]):
    """Keys are the first half of x, values the second."""

    def __init__(self, size: int) -> None:
        super().__init__(2 * size, VectorStorage(size, size, slots=4, learn_sharpness=True))

    def initial_state(self, *batch: int, device: Any = None, dtype: Any = None) -> VectorState:
        return self.storage.initial_state(*batch, device=device, dtype=dtype)

    def forward(self, x: Tensor, state: Any = None, mask: Any = None) -> tuple[Tensor, VectorState]:
        return self.read(state, x), state

    def write(self, state: VectorState, x: Tensor, mask: Any = None) -> VectorState:
        key, value = x.chunk(2, -1)
        return self.storage.write(state, key, value, mask=mask)

    def read(self, state: VectorState, x: Tensor, mask: Any = None) -> Tensor:
        return self.storage.read(state, x.chunk(2, -1)[0], mask).value

    def erase(self, state: VectorState, x: Tensor, mask: Any = None) -> VectorState:
        return self.storage.erase(state, x.chunk(2, -1)[0], mask=mask)


class RecallModel(nn.Module):
    """Writes each name with its colour, then reads the name that is asked about."""

    def __init__(self, names: int, colours: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.names = nn.Embedding(names, size)
        self.colours = nn.Embedding(colours, size)
        self.memory = PairMemory(size)
        self.output = nn.Linear(size, colours)

    def forward(self, colours: Tensor, questions: Tensor) -> Tensor:
        keys = self.names.weight.expand(len(colours), -1, -1)
        pairs = torch.cat([keys, self.dropout(self.colours(colours))], -1)
        state = self.memory.write(self.memory.initial_state(len(colours)), pairs)
        asked = self.names(questions).unsqueeze(1)
        return self.output(self.memory.read(state, torch.cat([asked, asked], -1)).squeeze(1))


class RecallTask(Task[RecallData]):
    """Recall.

    Args:
        size: Width of keys and values.
        interrupt: Send this signal to the process in this step.
        dropout: Share of the remembered values that is dropped.
        sampling: Draw random numbers in validation and test, too.
        optimizer: Makes the optimiser.
        scheduler: Makes the schedule.
        scheduler_interval: What the schedule counts.
    """

    def __init__(
        self,
        size: int = 16,
        interrupt: tuple[Literal["SIGINT", "SIGTERM"], int] | None = None,
        dropout: float = 0.0,
        sampling: bool = False,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        self.save_hyperparameters(
            "size"
        )  # a task of ours need not, but a flag must win over them all the same
        self.size = size
        self.interrupt = interrupt
        self.dropout = dropout
        self.sampling = sampling

    def build_model(self, data: RecallData) -> nn.Module:
        return RecallModel(len(data.fitted["names"]), len(data.fitted["colours"]), self.size, self.dropout)

    def build_metrics(self, data: RecallData) -> MetricCollection:
        return MetricCollection({"accuracy": MulticlassAccuracy(4, average="micro")})

    def training_loss(self, batch: Batch) -> tuple[Tensor, int]:
        if self.interrupt is not None and self.global_step == self.interrupt[1]:
            os.kill(os.getpid(), getattr(signal, self.interrupt[0]))
        return self._loss(batch, self._logits(batch)), len(batch[0])

    def evaluate(self, batch: Batch, metrics: MetricCollection) -> Tensor:
        logits = self._logits(batch)
        if self.sampling:
            logits = logits + torch.rand_like(logits)
        metrics.update(logits, self._answers(batch))
        return self._loss(batch, logits)

    def summarize(self, stage: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**values, "error": 1 - values["accuracy"]}

    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        probabilities, best = self._logits(batch).softmax(-1).max(-1)
        return [
            {"question": NAMES[name], "answer": COLOURS[colour], "probability": probability}
            for name, colour, probability in zip(
                batch[1].tolist(), best.tolist(), probabilities.tolist(), strict=True
            )
        ]

    def figures(self, batch: Batch) -> list[ReadHeatmap]:
        with self.model.memory.tracing() as reads:
            self._logits(batch)
        return [
            ReadHeatmap(f"what has {NAMES[name]}?", weights, ["read"], NAMES, [name])
            for name, weights in zip(batch[1][:2].tolist(), reads[0].weights[:2], strict=True)
        ]

    def _logits(self, batch: Batch) -> Tensor:
        return self.model(batch[0], batch[1])

    def _answers(self, batch: Batch) -> Tensor:
        return batch[0].gather(1, batch[1].unsqueeze(1)).squeeze(1)

    def _loss(self, batch: Batch, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits * batch[2], self._answers(batch))


class OtherTask(RecallTask):
    """Another task, whose checkpoints are its own."""
