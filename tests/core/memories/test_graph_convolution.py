"""A graph memory whose messages are a convolution of PyTorch Geometric."""

import pytest
import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.nn import LGConv, SAGEConv

from recollect import GraphMemory, VectorStorage

D = 4


def light(**arguments) -> GraphMemory:
    torch.manual_seed(0)
    return GraphMemory(
        D, VectorStorage(D, D, slots=6, match_start=0.99), edges=8, convolution=LGConv(), **arguments
    ).double()


def linked(memory: GraphMemory, *batch: int):
    """Five nodes, of which 0–2, 0–3 and 1–3 are connected."""
    x = torch.randn(*batch, 5, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state = memory.write(memory.initial_state(*batch), x)
    source, target = (torch.tensor(ends).expand(*batch, 3) for ends in ([0, 0, 3], [2, 3, 1]))
    return memory.connect(state, source, target), x


def values(memory: GraphMemory, state) -> Tensor:
    return memory.storage.entries(state.nodes).values


def test_lgconv_gives_the_light_graph_convolution_written_out():
    memory = light()
    state, _ = linked(memory)
    v = values(memory, state)
    after = values(memory, memory.propagate(state))
    degree = [2, 1, 1, 2]
    near = {0: [2, 3], 1: [3], 2: [0], 3: [0, 1]}
    for node, others in near.items():
        expected = sum(v[other] / (degree[node] * degree[other]) ** 0.5 for other in others)
        torch.testing.assert_close(after[node], expected)
    assert torch.equal(after[4:], v[4:])  # nobody speaks to them


def test_steps_and_a_given_adjacency_are_the_same():
    memory = light()
    state, _ = linked(memory)
    twice = memory.propagate(memory.propagate(state))
    torch.testing.assert_close(values(memory, memory.propagate(state, 2)), values(memory, twice))
    given = memory.propagate(state, 2, memory.adjacency(state))
    torch.testing.assert_close(values(memory, given), values(memory, twice))


def test_batch_items_are_graphs_of_their_own():
    memory = light()
    state, _ = linked(memory, 3)
    alone = memory.propagate(memory.select(state, torch.tensor([1])))
    torch.testing.assert_close(values(memory, memory.propagate(state))[1], values(memory, alone)[0])


def test_nothing_waits_and_reading_changes_nothing():
    memory = light()
    state, _ = linked(memory)
    assert int(memory.inspect(state)["pending"]) == 0
    assert int(memory.inspect(state)["edges"]) == 3
    assert torch.equal(values(memory, memory.propagate(state, 0)), values(memory, state))


def test_an_erased_node_sends_no_messages():
    memory = light()
    state, x = linked(memory)
    forgotten = memory.erase(state, x[3:4])
    after = values(memory, memory.propagate(forgotten))
    v = values(memory, state)
    torch.testing.assert_close(after[0], v[2])
    assert torch.equal(after[1], v[1])


def test_a_layer_that_learns_gets_gradients():
    memory = light()
    layer = SAGEConv(D, D).double()
    memory.node_update.convolution = layer
    state, _ = linked(memory)
    values(memory, memory.propagate(state, 2)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_what_a_convolution_cannot_do_is_named():
    with pytest.raises(ValueError, match="takes one type of edge"):
        GraphMemory(D, VectorStorage(D, D, slots=6), relations=2, convolution=LGConv())
    memory = light()
    state, _ = linked(memory)
    one = torch.tensor([0])
    with pytest.raises(ValueError, match="features must have width 0, got 4"):
        memory.connect(state, one, one + 1, features=torch.zeros(1, D, dtype=torch.float64))

    class Wider(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = Linear(D, D + 1).double()

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            return self.line(x)

    memory.node_update.convolution = Wider()
    with pytest.raises(ValueError, match="must return width 4"):
        memory.propagate(state)
    plain = GraphMemory(D, VectorStorage(D, D, slots=6))
    state = plain.write(plain.initial_state(), torch.randn(2, D))
    with pytest.raises(ValueError, match="adjacency_matrix is for a memory with a convolution"):
        plain.propagate(state, 1, plain.adjacency(state))


def test_many_nodes_are_written_at_once_as_one_by_one():
    memory = light()
    x = torch.randn(4, D, dtype=torch.float64)
    state = memory.write(memory.initial_state(), x)
    one_by_one = memory.initial_state()
    for w in range(4):
        one_by_one, _ = memory._add_node(one_by_one, x[w : w + 1], torch.tensor([True]))
    for ours, theirs in zip(state.nodes, one_by_one.nodes, strict=True):
        torch.testing.assert_close(ours, theirs)
