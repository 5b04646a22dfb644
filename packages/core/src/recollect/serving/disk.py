"""Rows of a model's lasting memory on disk."""

from pathlib import Path

from torch import nn

from recollect.lasting import lasting_layer
from recollect.memories.stores import store_of
from recollect.storages.disk import DiskStorage


def use_disk(model: nn.Module, path: str | Path, at: str | None = None) -> None:
    """Let the lasting memory of a model keep its rows in a folder, in place of where it keeps them.

    Args:
        model: A model with a lasting memory.
        path: The folder of a ``DiskStorage``, made if it does not exist.
        at: Name of the layer, if several have a lasting memory.

    Raises:
        ValueError: If the model has no lasting memory, or the folder holds a store of other sizes or another
            metric.
        ImportError: If LanceDB is not installed.
        OSError: If the folder cannot be made or read.
    """
    _, integration = lasting_layer(model, at)
    memory = integration.memory
    storage = DiskStorage(path, memory.model_size, memory.storage.value_size, metric=memory.metric)
    memory.storage = storage.to(memory.log_temperature.device)
    memory.store = store_of(storage)
