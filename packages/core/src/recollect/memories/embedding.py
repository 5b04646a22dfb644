"""How things become keys and values of a storage, and queries of it, for each hop of a memory network."""

from collections.abc import Sequence
from typing import Literal, TypeVar, cast

import torch
from torch import nn

from recollect.storages.base import Storage

T = TypeVar("T")
Tie = Literal["layer", "adjacent", "none"]


def embeddings(
    size: int, heads: int, storage: Storage, hops: int, tie: Tie
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """A and C: linear maps from width D to the keys and the values of H heads, one of each for every store.

    Raises:
        ValueError: If keys and values are to be shared, ``tie="adjacent"``, and their widths differ.
    """
    keys, values = storage.key_size, storage.value_size
    if tie == "adjacent":
        if keys != values:
            raise ValueError(f'tie="adjacent" needs equal key and value widths, got {keys} and {values}')
        shared = [nn.Linear(size, heads * keys) for _ in range(hops + 1)]
        return nn.ModuleList(shared[:-1]), nn.ModuleList(shared[1:])
    count = 1 if tie == "layer" else hops
    return (
        nn.ModuleList(nn.Linear(size, heads * keys) for _ in range(count)),
        nn.ModuleList(nn.Linear(size, heads * values) for _ in range(count)),
    )


@torch.no_grad()
def address_by_content(
    keys: nn.ModuleList, values: nn.ModuleList, ask: nn.ModuleList, tell: nn.ModuleList
) -> None:
    """Orthogonal A and C, Q = A and T = Cᵀ: a query looks at what resembles it and gets that back."""
    for layer in (*keys, *values):
        nn.init.orthogonal_(cast(nn.Linear, layer).weight)
    for k, (asking, telling) in enumerate(zip(ask, tell, strict=True)):
        cast(nn.Linear, asking).weight.copy_(cast(nn.Linear, of_hop(list(keys), k)).weight)
        cast(nn.Linear, telling).weight.copy_(cast(nn.Linear, of_hop(list(values), k)).weight.T)
    for layer in (*keys, *values, *ask, *tell):
        nn.init.zeros_(cast(nn.Linear, layer).bias)


def of_hop(items: Sequence[T], k: int) -> T:
    """The k-th of one item a hop, or the one that all hops share."""
    return items[k] if len(items) > 1 else items[0]
