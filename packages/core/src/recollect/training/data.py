"""The base of every data module."""

from abc import ABC, abstractmethod
from collections.abc import Sized
from typing import Any, Literal, cast
from weakref import WeakSet

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import Dataset, default_collate

from recollect.training.download import data_folder, fetch
from recollect.training.loader import Batches, Loader
from recollect.training.workers import suggested_workers

__all__ = ["DataModule", "Split", "data_folder", "fetch"]

Split = Literal["train", "val", "test", "predict"]


class DataModule(LightningDataModule, ABC):
    """Base class of data modules: datasets by split, batches, and statistics fitted on the training split.

    A subclass implements ``dataset`` and, where items cannot simply be stacked, ``collate``; ``prepare_data``
    where there is something to fetch; ``fit`` where there are vocabularies or statistics; ``batches`` where
    they go by length. The loaders are made here: processes share the batches exactly, and training resumes in
    mid-epoch. Items and ``collate`` may draw random numbers from the generators of python, numpy and torch:
    they are seeded for each batch, by ``seed``, epoch and the batch's number, whatever ``num_workers`` is.

    Args:
        batch_size: Items in a batch.
        num_workers: Processes that load; 0 loads in the training process. By default 0 where items are cheap
            (see ``is_costly``), else by the number of cores (see ``suggested_workers``). Batches are the same
            for every number.
        seed: Of the shuffling, and of the random numbers drawn while batches are made.

    Raises:
        ValueError: If ``batch_size`` or ``num_workers`` is out of range.
    """

    def __init__(self, batch_size: int, num_workers: int | None = None, seed: int = 0) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers must not be negative, got {num_workers}")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._fitted: dict[str, Any] | None = None
        self._loaders: WeakSet[Loader] = WeakSet()  # weak, for a loader refers to its data

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def dataset(self, split: Split) -> Dataset[Any] | None:
        """The items of a split (it has a length), or ``None`` where there is no such split.

        Called after ``prepare_data`` and ``setup``; what is costly to read should be kept by ``setup``.
        """

    def fit(self) -> dict[str, Any]:
        """Fit vocabularies and statistics on the training split; return plain data and tensors.

        Called when ``fitted`` is first read. It travels in the checkpoint, and is restored from there
        before ``setup`` whenever a checkpoint is given, so that testing and predicting need no training data.
        """
        return {}

    def collate(self, items: list[Any]) -> Any:
        """Make a batch of items; stacks tensors by default."""
        return default_collate(items)

    def batches(self, split: Split, dataset: Sized, epoch: int) -> Batches:
        """Return the items of each batch of an epoch, before batches are dealt out to processes.

        By default ``batch_size`` items each, in order, shuffled for ``"train"``; override it to batch by
        length.
        """
        size = len(dataset)
        order = self.shuffled(size, epoch) if split == "train" else list(range(size))
        return [order[start : start + self.batch_size] for start in range(0, size, self.batch_size)]

    def is_costly(self, split: Split) -> bool:
        """Whether items take long to make: read from files or augmented each time, not just cut from memory.

        Other processes then make the batches of the split, unless ``num_workers`` says otherwise.
        """
        return False

    @property
    def notes(self) -> list[str]:
        """Notes on the data that are shown with the results; none by default."""
        return []

    # --- what callers use -----------------------------------------------------------------------------------

    @property
    def fitted(self) -> dict[str, Any]:
        """The result of ``fit``, or that of the checkpoint."""
        if self._fitted is None:
            self._fitted = self.fit()
        return self._fitted

    def shuffled(self, size: int, epoch: int) -> list[int]:
        """Return a permutation of ``range(size)`` that depends on seed and epoch only."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return cast(list[int], torch.randperm(size, generator=generator).tolist())

    def loader(self, split: Split) -> Loader | list[Any]:
        """Return the batches of a split; an empty list without such a split.

        Raises:
            ValueError: If the split is there but empty.
        """
        dataset = self.dataset(split)
        if dataset is None:
            return []
        items = cast(Sized, dataset)
        if len(items) == 0:
            raise ValueError(f"{type(self).__name__} has no items in its {split} split")
        loader = Loader(
            dataset,
            self.collate,
            lambda epoch: self.batches(split, items, epoch),
            self._workers(split, items),
            self.trainer.world_size if self.trainer else 1,
            self.trainer.global_rank if self.trainer else 0,
            self.seed,
            # The trainer can keep a DataLoader from shuffling where it is to overfit, but not a Loader.
            same=bool(self.trainer and cast(Any, self.trainer).overfit_batches),
        )
        self._loaders.add(loader)
        return loader

    def _workers(self, split: Split, dataset: Sized) -> int:
        if self.num_workers is not None:
            return self.num_workers
        if not self.is_costly(split):
            return 0
        processes = self.trainer.num_devices if self.trainer else 1
        return suggested_workers(-(-len(dataset) // self.batch_size), processes)

    # --- what the trainer calls -----------------------------------------------------------------------------

    def train_dataloader(self) -> Loader | list[Any]:
        """Return the training batches."""
        return self.loader("train")

    def val_dataloader(self) -> Loader | list[Any]:
        """Return the validation batches."""
        return self.loader("val")

    def test_dataloader(self) -> Loader | list[Any]:
        """Return the test batches."""
        return self.loader("test")

    def predict_dataloader(self) -> Loader | list[Any]:
        """Return the batches to predict."""
        return self.loader("predict")

    def teardown(self, stage: str) -> None:
        """End the worker processes."""
        for loader in self._loaders:
            loader.close()

    def on_exception(self, exception: BaseException) -> None:
        """End the worker processes."""
        self.teardown("fit")

    def state_dict(self) -> dict[str, Any]:
        """Return the fitted vocabularies and statistics."""
        return {"fitted": self.fitted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the fitted vocabularies and statistics."""
        self._fitted = state_dict["fitted"]
