"""Every read is traced, however it is made, and tracing changes nothing."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from recollect import (
    ExampleMemory,
    GraphMemory,
    HashStorage,
    LinkedStorage,
    Memory,
    MemoryNetwork,
    PrototypeMemory,
    RelationalMemory,
    Seq2SeqMemory,
    Storage,
    TemporalLinkStorage,
    VectorStorage,
)
from recollect.tracing import trace

D = 4
STORAGES: dict[str, Callable[[], Storage]] = {
    "vector": lambda: VectorStorage(D, D, slots=8),
    "vector-top_k": lambda: VectorStorage(D, D, slots=8, top_k=2),
    "hash": lambda: HashStorage(D, D, buckets=4, capacity=2),
    "linked": lambda: LinkedStorage(D, D, slots=8),
    "temporal": lambda: TemporalLinkStorage(D, D, slots=8),
}
MEMORIES: dict[str, Callable[[Storage], Memory]] = {
    "seq2seq": lambda storage: Seq2SeqMemory(D, storage),
    "seq2seq-writes": lambda storage: Seq2SeqMemory(D, storage, write_on_forward=True),
    "network": lambda storage: MemoryNetwork(D, storage, hops=1),
    "network-writes": lambda storage: MemoryNetwork(D, storage, hops=1, write_on_forward=True),
    "prototype": lambda storage: PrototypeMemory(D, storage, prototypes=3),
    "prototype-writes": lambda storage: PrototypeMemory(D, storage, prototypes=3, write_on_forward=True),
    "relational": lambda storage: RelationalMemory(D, storage, rounds=1, heads=2),
    "graph": lambda storage: GraphMemory(D, storage, edges=4, write_on_forward=True),
}
each_storage = pytest.mark.parametrize("storage", STORAGES)


@each_storage
@pytest.mark.parametrize("memory", MEMORIES)
def test_every_memory_is_traced_in_every_storage(memory: str, storage: str):
    torch.manual_seed(0)
    made = MEMORIES[memory](STORAGES[storage]())
    state, x = made.write(made.initial_state(2), torch.randn(2, 3, D)), torch.randn(2, 2, D)
    plain, _ = made(x, state)
    with made.tracing() as reads, trace(nn.ModuleDict({"memory": made})) as traced:
        y, _ = made(x, state)
    torch.testing.assert_close(y, plain)
    queries = sum(read.weights.shape[-2] for read in reads)
    assert queries == 2, "each step is read once"
    assert len(traced.reads["memory"]) == len(reads)
    assert all(one is other for one, other in zip(traced.reads["memory"], reads, strict=True))
    figures = traced.figures()
    assert {"memory.storage/occupancy", "memory/read_entropy"} <= figures.keys()
    assert not made.storage.traced
    made(x, state)
    assert len(reads) == len(traced.reads["memory"])


@each_storage
def test_a_hook_sees_reads_by_content_by_a_reader_and_in_a_scan(storage: str):
    torch.manual_seed(0)
    made = STORAGES[storage]()
    seen = []
    key, value = torch.randn(2, 3, D), torch.randn(2, 3, D)
    plain, _ = made.scan(made.initial_state(2), key, key, value)
    with made.register_read_hook(lambda storage, state, read: seen.append((storage, state, read))):
        state = made.write(made.initial_state(2), key, value)
        read = made.read(state, key)
        cached = made.reader(state)(key)
        assert seen == [(made, state, read), (made, state, cached)]
        scanned, _ = made.scan(made.initial_state(2), key, key, value)
        torch.testing.assert_close(scanned, plain)
        assert len(seen) == 2 + 3, "a traced scan reads step by step"
    made.read(state, key)
    assert len(seen) == 5


@pytest.mark.parametrize("storage", ["linked", "temporal"])
def test_a_hook_sees_reads_along_links(storage: str):
    made = STORAGES[storage]()
    state = made.write(made.initial_state(), torch.eye(D), torch.eye(D))
    read, seen = made.read(state, torch.eye(D)[:1]), []
    with made.register_read_hook(lambda storage, state, read: seen.append(read)):
        followed = made.follow(state, read)
    assert len(seen) == 1
    assert seen[0] is followed


@each_storage
def test_a_masked_query_is_traced_as_nothing(storage: str):
    made = STORAGES[storage]()
    state = made.write(made.initial_state(1), torch.eye(D)[None], torch.eye(D)[None])
    query, mask, seen = torch.eye(D)[None, :2], torch.tensor([[True, False]]), []
    with made.register_read_hook(lambda storage, state, read: seen.append(read)):
        made.read(state, query, mask)
        made.reader(state)(query, mask)
    assert len(seen) == 2
    for read in seen:
        assert read.weights[0, 0].sum() > 0
        assert not read.weights[0, 1].any()
        assert not read.value[0, 1].any()


def test_a_neighbourhood_and_class_means_are_traced():
    graph = GraphMemory(D, VectorStorage(D, D, slots=8), edges=4)
    state, x = graph.write(graph.initial_state(1), torch.randn(1, 2, D)), torch.randn(1, 1, D)
    with graph.tracing() as reads:
        graph.read(state, x, nodes=torch.tensor([[0]]))
    assert [read.weights.shape for read in reads] == [(1, 1, 8)]
    examples = ExampleMemory(VectorStorage(D, 2, slots=8), method="prototypes")
    state = examples.write(examples.initial_state(), torch.eye(D)[:2], target=torch.tensor([0, 1]))
    with trace(examples) as traced:
        prediction = examples.classify(state, torch.eye(D)[:1])
    (read,) = traced.reads["memory"]
    torch.testing.assert_close(read.value, prediction.log_probability.exp())
    assert traced.figures()["storage/occupancy"] == 0.25


@pytest.mark.parametrize("write_on_forward", [False, True])
@pytest.mark.parametrize("top_k", [None, 2])
def test_a_decoder_that_reads_step_by_step_is_seen(write_on_forward: bool, top_k: int | None):
    storage = VectorStorage(D, D, 8, top_k=top_k)
    model = nn.ModuleDict({"memory": Seq2SeqMemory(D, storage, write_on_forward=write_on_forward)})
    memory = model["memory"]
    state = memory.write(memory.initial_state(2), torch.randn(2, 2, D))
    with trace(model) as traced:
        memory(torch.randn(2, 4, D), state)
    figures = traced.figures()
    assert figures["memory.storage/occupancy"] == (0.75 if write_on_forward else 0.25)
    assert len(traced.reads["memory"]) == 4
    assert "memory/read_entropy" in figures


def test_tracing_leaves_nothing_behind_and_changes_nothing():
    storage = VectorStorage(2, 2, slots=4, similarity="dot", sharpness=1.0)
    model = nn.ModuleDict({"store": storage})
    state = storage.write(storage.initial_state(1), torch.zeros(1, 2, 2), torch.eye(2).unsqueeze(0))
    plain = storage.read(state, torch.ones(1, 1, 2)).value
    with trace(model) as traced:
        seen = storage.read(state, torch.ones(1, 1, 2)).value
    assert torch.equal(plain, seen)
    assert not storage.traced
    figures = traced.figures()
    assert figures["store/occupancy"].item() == 0.5
    assert figures["store/age"].item() == 1.5  # written one and two writes ago
    assert figures["store/read_entropy"].item() == pytest.approx(math.log(2))
    storage.read(state, torch.ones(1, 1, 2))
    assert len(traced.reads["store"]) == 1


def test_tracing_sees_a_scan_and_survives_an_error():
    storage = VectorStorage(2, 2, slots=4)
    x = torch.randn(1, 3, 2)
    with trace(storage) as traced:
        storage.scan(storage.initial_state(1), x, x, x)
    assert traced.figures()["storage/occupancy"].item() == 0.75
    with pytest.raises(ValueError, match="stop"), trace(storage):  # noqa: PT012
        assert storage.traced
        raise ValueError("stop")
    assert not storage.traced


def test_an_empty_store_has_no_age_and_no_entropy():
    storage = VectorStorage(2, 2, slots=4)
    with trace(storage) as traced:
        storage.read(storage.initial_state(1), torch.ones(1, 1, 2))
    assert set(traced.figures()) == {"storage/occupancy"}


def test_traces_nest_and_hooks_are_removed_in_any_order():
    memory = MemoryNetwork(D, VectorStorage(D, D, slots=8), hops=1)
    state, x = memory.initial_state(1), torch.randn(1, 1, D)
    with memory.tracing() as outer:
        memory.read(state, x)
        with memory.tracing() as inner:
            memory.read(state, x)
    assert (len(outer), len(inner)) == (2, 1)
    first, second = (memory.storage.register_read_hook(lambda *event: None) for _ in range(2))
    first.remove()
    assert memory.storage.traced
    second.remove()
    assert not memory.storage.traced


@each_storage
def test_a_read_without_hooks_compiles_without_graph_breaks(storage: str):
    made = STORAGES[storage]()
    state = made.write(made.initial_state(1), torch.eye(D)[None], torch.eye(D)[None])
    torch.compiler.reset()
    compiled = torch.compile(lambda query: made.read(state, query).value, fullgraph=True, backend="eager")
    query = torch.eye(D)[None, :2]
    with torch.no_grad():
        torch.testing.assert_close(compiled(query), made.read(state, query).value)
