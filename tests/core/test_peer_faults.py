"""Faults that are known of others' memories, each shown not to be ours."""

import gc

import pytest
import torch
from torch import nn

from recollect import (
    Concatenation,
    Fusion,
    GraphMemory,
    MemoryNetwork,
    Parallel,
    Seq2SeqMemory,
    VectorStorage,
    augment,
    carry,
)
from recollect.state import map_state

D = 6


def storage():
    return VectorStorage(D, D, slots=5)


MEMORIES = {
    "seq2seq gru": lambda: Seq2SeqMemory(D, storage(), write_on_forward=True),
    "seq2seq lstm": lambda: Seq2SeqMemory(D, storage(), cell="lstm", write_on_forward=True),
    "network": lambda: MemoryNetwork(D, storage(), hops=2, write_on_forward=True),
    "network gru": lambda: MemoryNetwork(D, storage(), hops=2, controller="gru", write_on_forward=True),
    "graph": lambda: GraphMemory(D, storage(), edges=8, write_on_forward=True),
}


@pytest.fixture(params=MEMORIES)
def memory(request):
    torch.manual_seed(0)
    return MEMORIES[request.param]()


def test_reads_reach_the_controller_and_the_output(memory):
    """∂output/∂memory = 0: the reads are computed and then not used.

    Shown for what is written in one call and comes out of another, so that no path but the storage is left.
    """
    memory.write_on_forward = False
    fact = torch.randn(1, 3, D, requires_grad=True)
    state = memory.write(memory.initial_state(1), fact)
    question = torch.randn(1, 2, D)
    for output in (memory.read(state, question), memory(question, state)[0]):
        gradient = torch.autograd.grad(output.square().sum(), fact, retain_graph=True)[0]
        assert (gradient.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("name", ["seq2seq gru", "seq2seq lstm", "network gru", "graph"])
def test_what_is_read_reaches_the_next_step(name):
    """The read must be fed back: the hidden state after step 2 depends on what step 1 read."""
    torch.manual_seed(0)
    memory = MEMORIES[name]()
    memory.write_on_forward = False
    fact = torch.randn(1, 3, D, requires_grad=True)
    _, state = memory(torch.randn(1, 2, D), memory.write(memory.initial_state(1), fact))
    gradient = torch.autograd.grad(state.hidden.square().sum(), fact)[0]
    assert gradient.abs().sum() > 0


def test_identical_calls_give_identical_results(memory):
    """A hidden state that is drawn at random makes two identical calls differ."""
    x = torch.randn(2, 4, D)
    first, first_state = memory(x)
    torch.manual_seed(99)
    torch.randn(7)
    second, second_state = memory(x)
    assert torch.equal(first, second)
    torch.testing.assert_close(first_state, second_state, rtol=0, atol=0)
    random_number_generator = torch.get_rng_state()
    memory(x)
    assert torch.equal(torch.get_rng_state(), random_number_generator)


def tensors_of(module):
    """Every tensor that hangs on a module in any way, parameters and buffers apart."""
    owned = {id(t) for t in (*module.parameters(), *module.buffers())}
    attributes = (value for part in module.modules() for value in vars(part).values())
    return [value for value in attributes if isinstance(value, torch.Tensor) and id(value) not in owned]


def test_nothing_leaks_from_one_batch_to_the_next(memory):
    """A state that lives on the module leaks from batch to batch, and keeps their graphs alive."""
    x, secret = torch.randn(2, 4, D), torch.randn(2, 4, D) * 100
    expected, _ = memory(x)
    weights = {name: value.clone() for name, value in memory.state_dict().items()}
    memory(secret)
    memory.train()(secret)
    memory.eval()
    assert torch.equal(memory(x)[0], expected)
    assert not tensors_of(memory)
    after = memory.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], value) for name, value in weights.items())


@pytest.mark.filterwarnings("ignore:.*outside recollect.carry:UserWarning")
@pytest.mark.parametrize("integration", [Concatenation, Parallel, Fusion])
def test_nothing_leaks_through_an_augmented_model(integration, memory):
    model = augment(nn.Sequential(nn.Linear(D, D), nn.ReLU()), "0", memory, integration, layout="btd")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gate" in name or "proj" in name:
                parameter.normal_()
    x, secret = torch.randn(2, 4, D), torch.randn(2, 4, D) * 100
    expected = model(x)
    with carry(model) as session:
        model(secret)
    model(secret)
    assert torch.equal(model(x), expected)
    assert not tensors_of(model)
    assert not [key for key in model.state_dict() if "state" in key]
    value = next(iter(session.state.values()))
    del session
    gc.collect()
    assert torch.equal(model(x), expected)
    assert isinstance(value, tuple)


@pytest.mark.parametrize("pieces", [[1] * 9, [2, 7], [5, 3, 1], [8, 0, 1]])
def test_misaligned_chunks_neither_crash_nor_differ(memory, pieces):
    """Chunks that do not divide the sequence, or the number of slots, make others crash or differ."""
    x, state, outputs = torch.randn(2, 9, D), None, []
    with torch.no_grad():
        whole, after = memory(x)
        for piece in x.split(pieces, 1):
            y, state = memory(piece, state)
            outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole)
    torch.testing.assert_close(state, after)


@pytest.mark.parametrize("filler", [0.0, 1e4, float("nan")])
def test_padding_alters_neither_state_nor_gradients(memory, filler):
    x = torch.randn(2, 3, D)
    padded = torch.cat([x, torch.full((2, 2, D), filler)], 1).requires_grad_()
    mask = torch.tensor([[True, True, True, False, False]] * 2)
    y, state = memory(padded, mask=mask)
    expected, expected_state = memory(x)
    torch.testing.assert_close(y[:, :3], expected)
    assert (y[:, 3:] == 0).all()
    torch.testing.assert_close(state, expected_state)
    y.square().sum().backward()
    got = [p.grad.clone() for p in memory.parameters() if p.grad is not None]
    assert torch.isfinite(padded.grad).all()
    assert (padded.grad[:, 3:] == 0).all()
    memory.zero_grad()
    memory(x)[0].square().sum().backward()
    torch.testing.assert_close(got, [p.grad for p in memory.parameters() if p.grad is not None])


def test_a_checkpoint_loses_no_pending_message(tmp_path):
    """Messages that wait on the module for the next batch are lost by a checkpoint between the two."""
    torch.manual_seed(0)
    memory = GraphMemory(D, storage(), edges=8)
    nodes = torch.randn(1, 3, D)
    state = memory.write(memory.initial_state(1), nodes)
    ann, ben, _ = memory.find(state, nodes).unbind(-1)
    quiet = memory.read(state, nodes)
    state = memory.connect(state, ann[:, None], ben[:, None], features=torch.randn(1, 1, D))
    assert state.edges.pending.sum() == 1
    with torch.no_grad():
        expected = memory.read(state, nodes)
    assert not torch.allclose(expected, quiet), "the message matters"
    saved = map_state(torch.Tensor.detach, state)
    torch.save({"weights": memory.state_dict(), "state": saved}, tmp_path / "checkpoint.pt")
    loaded = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = GraphMemory(D, storage(), edges=8)
    resumed.load_state_dict(loaded["weights"])
    with torch.no_grad():
        assert loaded["state"].edges.pending.sum() == 1
        assert torch.equal(resumed.read(loaded["state"], nodes), expected)
        assert torch.equal(resumed(nodes, loaded["state"])[0], memory(nodes, state)[0])
