"""A storage on disk, which outlives the process and is shared by several."""

from pathlib import Path
from typing import Any

from recollect.ops.distance import Metric
from recollect.storages.engine import Engine
from recollect.storages.external import ExternalStorage


class DiskStorage(ExternalStorage):
    """Rows in a folder on disk, kept by LanceDB, read by softmax attention to the nearest.

    The folder outlives the process, and several processes may read and write it at once. What ``write``
    returned from is on the disk, whole or not at all, even if the process is killed. What is erased is found
    by no process any more. The model reads and writes it as any other storage; sources, origins and all rows
    are at its ``engine``.

    It needs the extra ``disk``: ``pip install recollect[disk]``. Start processes with ``spawn``.

    Args:
        path: The folder, made if it does not exist.
        key_size: Width K of keys and queries.
        value_size: Width V of values.
        metric: ``"cosine"``, ``"l2"`` or ``"dot"``; fixed when the folder is made.
        top_k: Number of rows that a read attends to.
        sharpness: Initial factor on the similarity; 10 for cosine, 1/√K for the other metrics by default.
        learn_sharpness: Make the factor a parameter (kept positive).
        capacity: Rows in a space at most; the oldest are erased beyond it. No limit by default.
        match_from: Cosine from which on ``erase`` takes a row's key for the given one.
        exact: Rows of a space up to which reads find the nearest rows exactly and hold the space in memory.
            A larger space is read through an index, which is built in a thread.
        timeout: Seconds to wait for another process that writes.

    Raises:
        ImportError: If LanceDB is not installed.
        ValueError: If an argument is out of range, the folder holds something else, or a store of other
            sizes or another metric.
        OSError: If the folder cannot be made or read.

    Example:
        >>> import tempfile
        >>> import torch
        >>> path = tempfile.mkdtemp()
        >>> storage = DiskStorage(path, key_size=2, value_size=1)
        >>> key, value = torch.tensor([[1.0, 0.0]]), torch.tensor([[5.0]])
        >>> _, rows = storage.place(storage.initial_state(), key, value, sources="ticket-4711")
        >>> again = DiskStorage(path, key_size=2, value_size=1)  # in another process, another day
        >>> again.read(again.initial_state(), key).value
        tensor([[5.]])
        >>> again.engine.sources()
        {'ticket-4711': 1}
        >>> again.engine.erase(rows)
        1
        >>> storage.read(storage.initial_state(), key).value
        tensor([[0.]])
    """

    def __init__(
        self,
        path: str | Path,
        key_size: int,
        value_size: int,
        *,
        metric: Metric = "cosine",
        top_k: int = 32,
        sharpness: float | None = None,
        learn_sharpness: bool = False,
        capacity: int | None = None,
        match_from: float = 0.999,
        exact: int = 100_000,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(
            _engine(path, key_size, value_size, metric=metric, exact=exact, timeout=timeout),
            top_k=top_k,
            sharpness=sharpness,
            learn_sharpness=learn_sharpness,
            capacity=capacity,
            match_from=match_from,
        )


def _engine(path: str | Path, key_size: int, value_size: int, **options: Any) -> Engine:
    try:
        from recollect.storages.disk_engine import LanceEngine
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("recollect"):
            raise
        raise ImportError(
            f"DiskStorage needs LanceDB (no module {error.name}): pip install recollect[disk]"
        ) from error
    return LanceEngine(path, key_size, value_size, **options)
