"""Pairs of names and colours, and a question about one of them."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from recollect.training import DataModule, Split

NAMES = ["ann", "bob", "cleo", "dan"]
COLOURS = ["red", "green", "blue", "pink"]


class RecallData(DataModule):
    """Each item: the colours (4,) of the four names, and the question (a name); the answer is its colour.

    Args:
        batch_size: Items in a batch.
        size: Items of each split.
        poison: Which training item holds a NaN, if any.
        path: Questions to answer, one name a line.
        num_workers: Processes that load.
        seed: Of data and shuffling.
        with_test: Whether there is a test split.
        noise: Random noise on each training item, on the scale of its logits, and on each batch.
    """

    def __init__(
        self,
        batch_size: int = 16,
        size: int = 96,
        poison: int | None = None,
        path: Path | None = None,
        num_workers: int | None = None,
        seed: int = 0,
        with_test: bool = True,
        noise: float = 0.0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        self.size = size
        self.poison = poison
        self.path = path
        self.with_test = with_test
        self.noise = noise
        self.learnings = 0

    def fit(self) -> dict[str, Any]:
        self.learnings += 1
        return {"names": NAMES, "colours": COLOURS}

    def dataset(self, split: Split) -> Dataset[Any] | None:
        if split == "test" and not self.with_test:
            return None
        assert self.fitted["names"] == NAMES
        generator = torch.Generator().manual_seed({"train": 1, "val": 2, "test": 3, "predict": 4}[split])
        questions = torch.randint(4, (self.size,), generator=generator)
        if split == "predict" and self.path is not None:
            questions = torch.tensor([NAMES.index(line) for line in self.path.read_text().split()])
        colours = torch.randint(4, (len(questions), 4), generator=generator)
        scale = torch.ones(len(questions), 1)
        if split == "train" and self.poison is not None:
            scale[self.poison] = float("nan")
        items = TensorDataset(colours, questions, scale)
        return Noisy(items, self.noise) if self.noise and split == "train" else items

    def collate(self, items: list[Any]) -> Any:
        colours, questions, scale = super().collate(items)
        return colours, questions, scale + self.noise * torch.rand(())


class Noisy(Dataset[Any]):
    """Draws from the three generators that augmentations draw from."""

    def __init__(self, items: TensorDataset, noise: float) -> None:
        self.items = items
        self.noise = noise

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        colours, question, scale = self.items[index]
        drawn = float(torch.rand(())) + random.random() + float(np.random.rand())
        return colours, question, scale * (1 + self.noise * drawn)


class OtherData(RecallData):
    """The same under another name."""


Batch = tuple[Tensor, Tensor, Tensor]
