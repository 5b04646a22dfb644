"""States with N entries in them."""

from typing import Any

import torch
from torch import Tensor

from recollect import SlotStorage, TemporalLinkStorage
from recollect.storages.temporal_link import TemporalLinkState


def filled(storage: SlotStorage[Any], keys: Tensor, values: Tensor) -> Any:
    """The state after writing N entries."""
    return storage.write(storage.initial_state(), keys, values, inplace=True)


def filled_temporal(storage: TemporalLinkStorage, keys: Tensor, values: Tensor) -> TemporalLinkState:
    """The state after writing N entries, in O(N²): to write them takes O(N³)."""
    empty, rest = storage.initial_state(), torch.arange(1, len(keys))
    nodes = empty.nodes._replace(
        keys=keys.clone(),
        values=values.clone(),
        presence=torch.ones(len(keys)),
        usage=torch.arange(len(keys)),
        clock=torch.tensor(len(keys)),
    )
    links = empty.links
    if hasattr(links, "sources"):
        links.sources[rest, 0] = rest - 1
        links.weights[rest, 0] = 1
    else:
        links.weights[rest, rest - 1] = 1
    links.precedence[-1] = 1
    return TemporalLinkState(nodes, links)
