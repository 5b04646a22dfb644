"""A storage in memory whose keys take a few bytes each."""

from typing import final

from recollect.ops.distance import Metric
from recollect.storages.codecs import Codec
from recollect.storages.external import ExternalStorage
from recollect.storages.packed_engine import PackedEngine


@final
class PackedStorage(ExternalStorage):
    """Rows in memory whose keys are kept as codes; otherwise like ``DiskStorage``.

    Args:
        codec: The codec, fitted to keys: ``Int8``, ``PCA`` or ``ProductQuantizer``.
        value_size: Width V of values.
        metric: ``"cosine"``, ``"l2"`` or ``"dot"``.
        top_k: Number of rows that a read attends to.
        sharpness: Initial factor on the similarity; 10 for cosine, 1/√K for the other metrics by default.
        capacity: Rows in a space at most; the oldest are erased beyond it. No limit by default.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from recollect.storages.codecs import Int8
        >>> keys = torch.eye(4)
        >>> storage = PackedStorage(Int8(4).fit(keys), value_size=1)
        >>> state = storage.write(storage.initial_state(), keys, torch.arange(4.0).unsqueeze(-1))
        >>> storage.neighbors(state, keys[2:3], k=1).values
        tensor([[[2.]]])
    """

    def __init__(
        self,
        codec: Codec,
        value_size: int,
        *,
        metric: Metric = "cosine",
        top_k: int = 32,
        sharpness: float | None = None,
        capacity: int | None = None,
    ) -> None:
        engine = PackedEngine(codec, value_size, metric)
        super().__init__(engine, top_k=top_k, sharpness=sharpness, capacity=capacity)
        self.codec = codec
        self.packed = engine
