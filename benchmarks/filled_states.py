"""States with N entries in them, made at once: writing a million entries one by one would take an hour."""

import torch
from torch import Tensor

from recollect import HashStorage, LinkedStorage, VectorStorage
from recollect.storages.chain import Chain
from recollect.storages.hash import HashState
from recollect.storages.hash_tables import HashTables
from recollect.storages.hashing import sign_hash
from recollect.storages.links_hard import HardLinksState
from recollect.storages.links_soft import SoftLinksState
from recollect.storages.places import FreePlaces
from recollect.storages.vector import VectorState


def filled_vector(storage: VectorStorage, keys: Tensor, values: Tensor) -> VectorState:
    """The state after writing N entries to N slots."""
    count = len(keys)
    return VectorState(
        keys.clone(), values.clone(), torch.ones(count), torch.arange(count), torch.tensor(count)
    )


def filled_hash(storage: HashStorage, keys: Tensor, values: Tensor) -> HashState:
    """The state after writing N entries to an empty store: full buckets hold the newest."""
    empty = storage.initial_state()
    tables, filings = _filed(sign_hash(keys, storage.hash), storage.buckets, storage.capacity)
    lost = (filings == 0).nonzero().squeeze(-1)
    stack = empty.free.stack.clone()
    stack[: len(lost)] = lost
    return empty._replace(
        keys=keys.clone(),
        values=values.clone(),
        presence=torch.ones(len(keys)),
        stamp=torch.arange(1, len(keys) + 1).masked_fill(filings == 0, 0),
        filings=filings,
        tables=tables,
        free=FreePlaces(stack, torch.tensor(len(lost))),
        clock=torch.tensor(len(keys)),
    )


def filled_hard(storage: LinkedStorage, keys: Tensor, values: Tensor) -> HardLinksState:
    """The state after writing N nodes to N slots, each linked to the one before."""
    nodes = storage.variant
    empty = nodes.initial_state()
    _, buckets, capacity = nodes.shape
    tables, _ = _filed(sign_hash(keys, nodes.hash), buckets, capacity)
    count = len(keys)
    ring = torch.arange(count + 1)
    return empty._replace(
        keys=keys.clone(),
        values=values.clone(),
        presence=torch.ones(count),
        stamp=torch.arange(1, count + 1),
        order=Chain((ring + 1) % (count + 1), (ring - 1) % (count + 1)),
        usage=Chain((ring + 1) % (count + 1), (ring - 1) % (count + 1)),
        tables=tables,
        free=FreePlaces(empty.free.stack, torch.tensor(0)),
        clock=torch.tensor(count),
    )


def filled_soft(storage: LinkedStorage, keys: Tensor, values: Tensor) -> SoftLinksState:
    """The state after writing N entries to N slots, each linked to the one before (soft or sparse)."""
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
    return SoftLinksState(nodes, links)


def _filed(codes: Tensor, buckets: int, capacity: int) -> tuple[HashTables, Tensor]:
    """Tables in which N entries are filed in turn by ``codes`` (N, tables), and in how many each stands."""
    count, tables = codes.shape
    entry, stamp = (torch.zeros(tables, buckets, capacity, dtype=torch.int64) for _ in range(2))
    filings = torch.zeros(count, dtype=torch.int64)
    for table in range(tables):
        code, order = codes[:, table].sort(stable=True)
        sizes = code.bincount(minlength=buckets)
        rank = torch.arange(count) - (sizes.cumsum(0) - sizes)[code]
        kept = rank >= sizes[code] - capacity
        place = (table, code[kept], rank[kept] % capacity)
        entry[place], stamp[place] = order[kept], order[kept] + 1
        filings[order[kept]] += 1
    return HashTables(entry, stamp), filings
