"""The base of every data module, and where datasets live and come from."""

from abc import abstractmethod
from collections.abc import Sized
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule
from torch.utils.data import Dataset, default_collate

Split = Literal["train", "val", "test", "predict"]


class DataModule(LightningDataModule):
    """Datasets by split, batches of them, and what was learnt from the training split.

    A subclass implements ``dataset`` and, where items cannot simply be stacked, ``collate``; ``prepare_data`` where
    there is something to fetch; ``learn`` where there are vocabularies or statistics. The loaders are made here.

    Args:
        batch_size: Items in a batch.
        num_workers: Processes that load; 0 loads in the training process.
        seed: Of the shuffling.
    """

    def __init__(self, batch_size: int, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def dataset(self, split: Split) -> Dataset[Any]:
        """The items of a split (it has a length). Called after ``prepare_data`` and ``setup``."""

    def learn(self) -> dict[str, Any]:
        """What is learnt from the training split alone: vocabularies, statistics; plain data and tensors.

        Called at most once, when ``learnt`` is first asked for; it travels in the checkpoint, and is restored from
        there, before ``setup``, for validation, test and prediction.
        """
        return {}

    def collate(self, items: list[Any]) -> Any:
        """A batch from items; stacks tensors by default."""
        return default_collate(items)

    def batches(self, split: Split, dataset: Sized, epoch: int) -> list[list[int]]:
        """Which items form each batch of an epoch, before the processes share them out.

        By default ``batch_size`` items each, shuffled for ``"train"``; override to make batches by length.
        """
        raise NotImplementedError

    # --- what callers use -----------------------------------------------------------------------------------

    @property
    def learnt(self) -> dict[str, Any]:
        """What ``learn`` gave, or what the checkpoint held."""
        raise NotImplementedError


def data_folder(name: str) -> Path:
    """Where the dataset ``name`` lives: under ``RECOLLECT_DATA``, else in the user's cache folder."""
    raise NotImplementedError


def fetch(url: str, sha256: str, folder: Path, name: str | None = None) -> Path:
    """The file at ``url``, in ``folder`` as ``name`` (the URL's own by default): downloaded once, and checked."""
    raise NotImplementedError
