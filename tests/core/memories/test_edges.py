"""What every memory does with nothing, with half precision, and with arguments that do not fit."""

from collections.abc import Callable

import pytest
import torch

from recollect import (
    GraphMemory,
    HashStorage,
    Memory,
    MemoryNetwork,
    Seq2SeqMemory,
    TemporalLinkStorage,
    VectorStorage,
)

D = 6


def ring(**arguments) -> VectorStorage:
    return VectorStorage(D, D, slots=4, **arguments)


MEMORIES: dict[str, Callable[[], Memory]] = {
    "seq2seq": lambda: Seq2SeqMemory(D, ring(), cell="lstm"),
    "seq2seq-remember": lambda: Seq2SeqMemory(
        D, HashStorage(D, D, buckets=4, capacity=3), write_on_forward=True
    ),
    "network": lambda: MemoryNetwork(D, ring(top_k=2), hops=2, write_on_forward=True),
    "network-scan": lambda: MemoryNetwork(D, ring(), hops=2, write_on_forward=True),
    "network-temporal": lambda: MemoryNetwork(
        D,
        ring(),
        heads=2,
        controller="lstm",
        temporal=True,
        relation=True,
        hop="mlp",
        tie="none",
        write_on_forward=True,
    ),
    "graph": lambda: GraphMemory(D, TemporalLinkStorage(D, D, slots=4), edges=4, write_on_forward=True),
    "graph-top2": lambda: GraphMemory(D, ring(top_k=2), edges=4, write_on_forward=True),
}


@pytest.fixture(params=MEMORIES.values(), ids=MEMORIES.keys())
def memory(request) -> Memory:
    torch.manual_seed(0)
    return request.param()


@pytest.mark.parametrize("shape", [(0, 2, D), (2, 0, D)], ids=["no items", "no steps"])
def test_nothing_can_be_done_with_nothing(memory: Memory, shape: tuple[int, ...]):
    x = torch.zeros(shape)
    state = memory.write(memory.initial_state(shape[0]), x)
    y, state = memory(x, state)
    state = memory.erase(state, x)
    assert y.shape == memory.read(state, x).shape == x.shape
    memory.inspect(memory.reset(memory.select(state, torch.arange(shape[0])), torch.ones(shape[0]) > 0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite_from_an_empty_memory_on(memory: Memory, dtype: torch.dtype):
    memory = memory.to(dtype)
    x = torch.randn(2, 3, D).to(dtype)
    y, state = memory(x)
    more, state = memory(x, memory.erase(memory.write(state, x), x[:, :1]))
    for found in (y, more, memory.read(state, x)):
        assert found.dtype == dtype
        assert found.isfinite().all()


def test_a_mask_that_does_not_fit_is_refused(memory: Memory):
    x = torch.randn(2, 3, D)
    state = memory.initial_state(2)
    for mask in (torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 2, dtype=torch.bool), torch.ones(2, 3)):
        for call in (memory.write, memory.read, memory.erase):
            with pytest.raises(ValueError, match="mask must be bool of shape"):
                call(state, x, mask)
        with pytest.raises(ValueError, match="mask must be bool of shape"):
            memory(x, state, mask)
