"""States with N entries in them, made at once: writing a million entries one by one would take an hour."""

import torch
from torch import Tensor

from recollect import HashStorage, LinkedStorage, TemporalLinkStorage, VectorStorage
from recollect.ops.free_list import FreeList
from recollect.ops.hash_table import HashTables
from recollect.ops.hashing import sign_hash
from recollect.ops.linked_list import LinkedList
from recollect.storages.hash import HashState
from recollect.storages.linked import LinkedState
from recollect.storages.temporal_link import TemporalLinkState
from recollect.storages.vector import VectorState


def filled_vector(storage: VectorStorage, keys: Tensor, values: Tensor) -> VectorState:
    """The state after writing N entries to N slots."""
    count = len(keys)
    return VectorState(
        keys.clone(),
        values.clone(),
        torch.ones(count),
        torch.arange(count),
        torch.tensor(count),
        torch.tensor(0),
    )


def filled_hash(storage: HashStorage, keys: Tensor, values: Tensor) -> HashState:
    """The state after writing N entries to an empty store: full buckets hold the newest."""
    empty = storage.initial_state()
    tables, index_count = _fill_tables(
        sign_hash(keys, storage.hash), storage.buckets, storage.bucket_capacity
    )
    lost = (index_count == 0).nonzero().squeeze(-1)
    stack = empty.free.stack.clone()
    stack[: len(lost)] = lost
    return empty._replace(
        keys=keys.clone(),
        values=values.clone(),
        presence=torch.ones(len(keys)),
        stamp=torch.arange(1, len(keys) + 1).masked_fill(index_count == 0, 0),
        index_count=index_count,
        tables=tables,
        free=FreeList(stack, torch.tensor(len(lost))),
        clock=torch.tensor(len(keys)),
    )


def filled_linked(storage: LinkedStorage, keys: Tensor, values: Tensor) -> LinkedState:
    """The state after writing N entries to N slots, each linked after the one before."""
    empty = storage.initial_state()
    _, buckets, capacity = storage.table_shape
    tables, _ = _fill_tables(sign_hash(keys, storage.hash), buckets, capacity)
    count = len(keys)
    ring = torch.arange(count + 1)
    return empty._replace(
        keys=keys.clone(),
        values=values.clone(),
        presence=torch.ones(count),
        stamp=torch.arange(1, count + 1),
        order=LinkedList((ring + 1) % (count + 1), (ring - 1) % (count + 1)),
        usage=LinkedList((ring + 1) % (count + 1), (ring - 1) % (count + 1)),
        tables=tables,
        free=FreeList(empty.free.stack, torch.tensor(0)),
        clock=torch.tensor(count),
    )


def filled_temporal(storage: TemporalLinkStorage, keys: Tensor, values: Tensor) -> TemporalLinkState:
    """The state after writing N entries to N slots, each linked after the one before."""
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


def _fill_tables(codes: Tensor, buckets: int, capacity: int) -> tuple[HashTables, Tensor]:
    """Insert N entries in turn by ``codes`` (N, tables); return the tables, and how many hold each entry."""
    count, tables = codes.shape
    entry, stamp = (torch.zeros(tables, buckets, capacity, dtype=torch.int64) for _ in range(2))
    index_count = torch.zeros(count, dtype=torch.int64)
    for table in range(tables):
        code, order = codes[:, table].sort(stable=True)
        sizes = code.bincount(minlength=buckets)
        rank = torch.arange(count) - (sizes.cumsum(0) - sizes)[code]
        kept = rank >= sizes[code] - capacity
        place = (table, code[kept], rank[kept] % capacity)
        entry[place], stamp[place] = order[kept], order[kept] + 1
        index_count[order[kept]] += 1
    return HashTables(entry, stamp), index_count
