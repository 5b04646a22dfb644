"""A small classifier with a lasting memory, and an engine that waits."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from recollect import Interpolation, NeighborMemory, Storage, VectorStorage, augment
from recollect.storages.external import ExternalStorage
from recollect.testing import ListEngine

D, CLASSES = 8, 5


def make_classifier(storage: Storage | None = None) -> nn.Module:
    """A classifier of 3 features with a lasting memory at its last layer."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, D), nn.Tanh(), nn.Linear(D, CLASSES))
    storage = VectorStorage(D, 1, slots=1000) if storage is None else storage
    memory = NeighborMemory(D, storage, classes=CLASSES, k=4)
    return augment(model, at="2", memory=memory, integration=partial(Interpolation, gate=0.9))


class SlowEngine(ListEngine):
    """An engine in memory that counts its commits; each waits until ``gate`` lets it."""

    def __init__(self) -> None:
        super().__init__(D, 1, metric="l2")
        self.commits = 0
        self.gate: Callable[[], Any] = lambda: None

    def add(self, *args: Any, **options: Any) -> Tensor:
        """See ``ListEngine``."""
        self.gate()
        self.commits += 1
        return super().add(*args, **options)


def make_with_example() -> tuple[nn.Module, Tensor]:
    """A classifier and an example of its input."""
    return make_classifier(), torch.zeros(1, 3)


def make_without_memory() -> nn.Module:
    """A model without a memory."""
    return nn.Linear(3, CLASSES)


def make_nothing() -> None:
    """No model."""


def make_with_list_engine() -> nn.Module:
    """A classifier whose rows are in an engine."""
    return make_classifier(ExternalStorage(ListEngine(D, 1, metric="l2")))
