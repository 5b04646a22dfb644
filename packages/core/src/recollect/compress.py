"""Smaller lasting memories: codes instead of keys, and fewer rows."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recollect.lasting import lasting_layer
from recollect.memories.neighbor import NeighborMemory
from recollect.storages.codecs import Codec
from recollect.storages.packed import PackedStorage


class Compression(NamedTuple):
    """What ``compress`` did.

    Attributes:
        rows: Number of rows.
        before: Bytes of their keys as float32.
        after: Bytes of the codes.
    """

    rows: int
    before: int
    after: int


def compress(model: nn.Module, codec: Codec, *, at: str | None = None) -> Compression:
    """Move the rows of a model's lasting memory into a ``PackedStorage``, with their sources and times.

    The codec is fitted to the keys, if it was not before. Gate, k and τ stay as they are; fit the gate again
    where the distances change much.

    Args:
        model: A model with a lasting memory of class ``NeighborMemory``.
        codec: The codec, such as ``PCA(width, 64)``.
        at: Name of the layer, if several have a lasting memory.

    Raises:
        ValueError: If the codec does not fit the keys. The memory is then unchanged.

    Example:
        >>> from recollect import Interpolation, NeighborMemory, VectorStorage, augment, remember
        >>> from recollect.storages.codecs import Int8
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 3))
        >>> memory = NeighborMemory(8, VectorStorage(8, 1, slots=100), classes=3)
        >>> model = augment(model, at="1", memory=memory, integration=Interpolation)
        >>> _ = remember(model, torch.randn(50, 2), torch.randint(3, (50,)))
        >>> compress(model, Int8(8))
        Compression(rows=50, before=1600, after=400)
    """
    _, integration = lasting_layer(model, at)
    old = integration.memory
    if type(old) is not NeighborMemory:
        raise ValueError(f"only the rows of a NeighborMemory can be compressed, not of {type(old).__name__}")
    parts = list(old.rows.scan())
    if not codec.fitted:
        codec.fit(
            torch.cat([part.keys.cpu() for part in parts])
            if parts
            else torch.zeros(0, old.model_size, device="cpu")
        )
    storage = PackedStorage(codec, old.storage.value_size, metric=old.metric)
    for part in parts:
        storage.packed.load(part._replace(keys=part.keys.cpu(), values=part.values.cpu()))
    if old.rows.fingerprint is not None:
        storage.packed.claim(old.rows.fingerprint)
    new = NeighborMemory(old.model_size, storage, old.classes, k=old.k, metric=old.metric)
    new.log_temperature.data.copy_(old.log_temperature)
    integration.memory = new.to(old.log_temperature.device)
    rows = len(new.rows)
    return Compression(rows, 4 * old.model_size * rows, storage.packed.code_bytes)


def prune(model: nn.Module, k: int = 8, *, at: str | None = None) -> int:
    """Erase rows that say what a near row says, and return how many.

    Rows are visited in their order. Each one that is left erases those of its k nearest that have the same
    class, as the greedy merging of He et al. (2021, arXiv:2109.04212) does, but for its weights.

    Args:
        model: A model with a lasting memory of classes.
        k: Number of neighbours that a row is compared with.
        at: Name of the layer, if several have a lasting memory.

    Raises:
        ValueError: If k is not positive, or the memory holds vectors.
    """
    _, integration = lasting_layer(model, at)
    memory = integration.memory
    if memory.classes is None:
        raise ValueError("only rows of classes can be pruned: vectors are never the same")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    gone: set[int] = set()
    for part in memory.rows.scan():
        found = memory.lookup(part.keys, k=k + 1)
        own = torch.tensor([origin.row for origin in part.origins], device="cpu")
        for row, near in zip(own.tolist(), _same(own, part.values, found.slots, found.values), strict=True):
            if row not in gone:
                gone.update(near)
    if gone:
        memory.rows.erase(torch.tensor(sorted(gone), device="cpu"), purge=True)
    return len(gone)


def _same(own: Tensor, value: Tensor, rows: Tensor, values: Tensor) -> list[list[int]]:
    """The neighbours of each row that have its value, without itself."""
    same = (values == value.unsqueeze(-2)).all(-1) & (rows >= 0) & (rows != own.to(rows.device).unsqueeze(-1))
    return [near[chosen].tolist() for near, chosen in zip(rows, same, strict=True)]
