"""All memories × all storages × all integrations: every combination works."""

import pytest
import torch
from torch import nn

from recollect import (
    Concatenation,
    ExampleMemory,
    Fusion,
    GraphMemory,
    HashStorage,
    LinkedStorage,
    MemoryNetwork,
    Parallel,
    PrototypeMemory,
    RelationalMemory,
    Seq2SeqMemory,
    TemporalLinkStorage,
    VectorStorage,
)
from recollect.state import map_state

D, SLOTS = 4, 6

STORAGES = {
    "vector": lambda: VectorStorage(D, D, slots=SLOTS),
    "hash": lambda: HashStorage(D, D, buckets=2, capacity=SLOTS, tables=3, entries=SLOTS),
    "temporal": lambda: TemporalLinkStorage(D, D, slots=SLOTS),
    "temporal-sparse": lambda: TemporalLinkStorage(D, D, slots=SLOTS, kept=3),
    "linked": lambda: LinkedStorage(D, D, slots=SLOTS, buckets=2, capacity=SLOTS),
}
MEMORIES = {
    "seq2seq": lambda storage: Seq2SeqMemory(D, storage, write_on_forward=True),
    "network": lambda storage: MemoryNetwork(D, storage, hops=2, controller="gru", write_on_forward=True),
    "prototype": lambda storage: PrototypeMemory(D, storage, prototypes=3, write_on_forward=True),
    "relational": lambda storage: RelationalMemory(D, storage, rounds=2, heads=2, write_on_forward=True),
    "example": lambda storage: ExampleMemory(storage, "prototypes", write_on_forward=True),
    "graph": lambda storage: GraphMemory(D, storage, edges=8, write_on_forward=True),
}
INTEGRATIONS = {
    "concatenation": Concatenation,
    "parallel": Parallel,
    "fusion": lambda layer, memory: Fusion(layer, memory, stepwise=True),
}


COMBINATIONS = [
    (memory, storage, integration)
    for memory in MEMORIES
    for storage in STORAGES
    for integration in INTEGRATIONS
    # Ways of keeping links differ below the verbs that an integration sees.
    if storage not in ("temporal-sparse", "linked") or integration == "concatenation"
]


@pytest.fixture(params=COMBINATIONS, ids=" ".join)
def integrated(request):
    """A layer with a memory whose gate has moved, as training would move it."""
    torch.manual_seed(0)
    memory, storage, integration = request.param
    module = INTEGRATIONS[integration](nn.Linear(D, D), MEMORIES[memory](STORAGES[storage]()))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith(("gate", "out_proj")):
                parameter.normal_(std=0.5)
    return module


def test_forward_and_backward_reach_the_memory(integrated):
    x = torch.randn(2, 4, D, requires_grad=True)
    y, state = integrated(x)
    more, _ = integrated(x, state)
    (y.square().mean() + more.square().mean()).backward()
    assert y.shape == x.shape
    assert not torch.allclose(y, integrated.layer(x)), "the memory has no part in the output"
    gradients = {n: p.grad for n, p in integrated.named_parameters() if p.grad is not None}
    assert all(torch.isfinite(gradient).all() for gradient in [x.grad, *gradients.values()])
    reached = [gradient for name, gradient in gradients.items() if name.startswith("memory.")]
    learned = sum(parameter.requires_grad for parameter in integrated.memory.parameters())
    assert sum(bool(gradient.abs().sum() > 0) for gradient in reached) >= min(3, learned)
    assert (x.grad.abs().sum(-1) > 0).all()


def test_misaligned_chunks_equal_the_whole(integrated):
    x, state, outputs = torch.randn(2, 7, D), None, []
    with torch.no_grad():
        whole, after = integrated(x)
        for piece in x.split([3, 1, 2, 1], 1):
            y, state = integrated(piece, state)
            outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole)
    torch.testing.assert_close(state, after)


def test_saved_weights_and_state_go_on_as_the_kept_ones(integrated, tmp_path):
    first, second = torch.randn(2, 2, 3, D)
    with torch.no_grad():
        _, state = integrated(first)
        kept = map_state(torch.clone, state)
        expected, _ = integrated(second, state)
        torch.testing.assert_close(state, kept, rtol=0, atol=0)
        torch.save({"weights": integrated.state_dict(), "state": state}, tmp_path / "all.pt")
        saved = torch.load(tmp_path / "all.pt", weights_only=True)
        for parameter in integrated.parameters():
            parameter.zero_()
        integrated.load_state_dict(saved["weights"])
        resumed, _ = integrated(second, saved["state"])
    torch.testing.assert_close(resumed, expected, rtol=0, atol=0)


def test_padding_and_batch_neighbours_change_nothing(integrated):
    x = torch.randn(2, 4, D)
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    with torch.no_grad():
        y, state = integrated(x, step_mask=mask)
        alone, alone_state = integrated(x[1:, :2])
        more, _ = integrated(x, state)
        more_alone, _ = integrated(x[1:], alone_state)
    torch.testing.assert_close(y[1:, :2], alone)
    torch.testing.assert_close(more[1:], more_alone)
