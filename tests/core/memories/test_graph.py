"""GraphMemory: its formula, its events, and that nothing of it is lost."""

import io
import sys

import pytest
import torch
from torch import Tensor

from recollect import GraphMemory, HashStorage, LinkedStorage, TemporalLinkStorage, VectorStorage
from recollect.state import map_state
from recollect.testing.trial import leaves

D, K, V = 6, 5, 4

STORAGES = {
    "vector-ring": lambda: VectorStorage(K, V, slots=4),
    "vector-lru": lambda: VectorStorage(K, V, slots=4, policy="lru"),
    "vector-content": lambda: VectorStorage(K, V, slots=4, policy="content"),
    "hash": lambda: HashStorage(K, V, buckets=2, capacity=3),
    "linked-soft": lambda: TemporalLinkStorage(K, V, slots=4),
    "linked-hard": lambda: LinkedStorage(K, V, slots=4),
}


@pytest.fixture(params=STORAGES.values(), ids=STORAGES.keys())
def memory(request) -> GraphMemory:
    torch.manual_seed(0)
    return GraphMemory(D, request.param(), edges=5, relations=2, write_on_forward=True).double()


def plain(edges: int = 8, slots: int = 6, **arguments) -> GraphMemory:
    torch.manual_seed(0)
    return GraphMemory(D, VectorStorage(K, V, slots=slots), edges=edges, relations=2, **arguments).double()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def people(memory: GraphMemory, count: int = 3, batch: tuple[int, ...] = (1,)):
    """A state with ``count`` nodes, and what they were written as."""
    x = random(*batch, count, D, seed=1)
    state = memory.write(memory.initial_state(*batch), x)
    assert memory.find(state, x).tolist() == torch.arange(count).expand(*batch, count).tolist()
    return state, x


def ids(*numbers: int) -> Tensor:
    return torch.tensor([list(numbers)])


def assert_states(actual, expected, exact: bool = False):
    for ours, theirs in zip(leaves(actual), leaves(expected), strict=True):
        tolerance = 0.0 if exact else 1e-10
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


# --- the formula ----------------------------------------------------------------------------------------


def gru(cell: torch.nn.GRUCell, x: Tensor, h: Tensor) -> Tensor:
    """GRU of Cho et al. 2014, written out."""
    from_x, from_h = cell.weight_ih @ x + cell.bias_ih, cell.weight_hh @ h + cell.bias_hh
    (r_x, z_x, n_x), (r_h, z_h, n_h) = from_x.chunk(3), from_h.chunk(3)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    return (1 - z) * torch.tanh(n_x + r * n_h) + z * h


def messages_by_hand(memory: GraphMemory, values: list[Tensor], edges) -> list[Tensor]:
    """v_i ← GRU(m_i, v_i) with m_i = 1/|E_i| Σ (W_r v_j + U v_i + F x_e + b_r)."""
    layer = memory.node_update.messages
    inbox: list[list[Tensor]] = [[] for _ in values]
    for source, target, relation, features in edges:
        for sender, receiver, kind in ((source, target, relation), (target, source, relation + 2)):
            message = values[sender] @ layer.relation_weight[kind] + layer.relation_bias[kind]
            inbox[receiver].append(
                message + layer.target_proj.weight @ values[receiver] + layer.edge_proj.weight @ features
            )
    return [
        gru(memory.node_update.update_cell, torch.stack(box).mean(0), value) if box else value
        for box, value in zip(inbox, values, strict=True)
    ]


def test_waiting_messages_are_averaged_and_taken_in_by_a_gru():
    memory = plain()
    torch.nn.init.normal_(memory.node_update.messages.relation_bias)
    state, x = people(memory)
    features = random(1, 3, D, seed=2)
    state = memory.connect(state, ids(0, 1, 0), ids(1, 2, 2), ids(0, 1, 0), features)
    values = [memory.value_proj.weight @ x[0, n] for n in range(3)]
    edges = [(0, 1, 0, features[0, 0]), (1, 2, 1, features[0, 1]), (0, 2, 0, features[0, 2])]
    once = messages_by_hand(memory, values, edges)
    twice = messages_by_hand(memory, once, edges)
    for steps, expected in ((0, once), (1, twice)):
        found = memory.storage.entries(memory.propagate(state, steps).nodes).values[0, :3]
        torch.testing.assert_close(found, torch.stack(expected))


def test_the_recurrence_is_the_formula_written_out():
    """h_t = f([x_t; c_{t−1}], h_{t−1}); c_t = Attention(W_q h_t, nodes); y_t = tanh(W_c [c_t; h_t])."""
    memory = plain()
    state, nodes = people(memory)
    state = memory.connect(state, ids(0), ids(1), ids(1))
    x = random(1, 4, D, seed=3)
    y, _ = memory(x, state)
    values = [memory.value_proj.weight @ nodes[0, n] for n in range(3)]
    values = torch.stack(messages_by_hand(memory, values, [(0, 1, 1, torch.zeros(D).double())]))
    keys = torch.nn.functional.normalize(nodes[0] @ memory.key_proj.weight.T, dim=-1)
    h, c = torch.zeros(D).double(), torch.zeros(V).double()
    for t in range(4):
        h = gru(memory.cell, torch.cat([x[0, t], c]), h)
        q = torch.nn.functional.normalize(memory.query_proj.weight @ h, dim=-1)
        c = (10 * keys @ q).softmax(-1) @ values
        torch.testing.assert_close(y[0, t], torch.tanh(memory.out_proj.weight @ torch.cat([c, h])))


def test_remember_writes_each_step_as_a_node_that_follows_the_one_before():
    memory = plain(write_on_forward=True)
    x = random(1, 3, D)
    y, state = memory(x)
    edges = state.edges
    made = [(int(s), int(t), int(r)) for s, t, r in zip(*(e[0, :2] for e in edges[:3]), strict=True)]
    assert made == [(0, 1, 0), (1, 2, 0)]
    assert edges.present[0].sum() == 2
    by_hand = plain()
    other = by_hand.initial_state(1)
    for t in range(3):
        other = by_hand.write(other, x[:, t : t + 1])
        if t:
            other = by_hand.connect(other, ids(t - 1), ids(t))
        step, other = by_hand(x[:, t : t + 1], other)
        torch.testing.assert_close(y[:, t : t + 1], step)


# --- events ---------------------------------------------------------------------------------------------


def test_a_message_waits_until_the_next_read_and_is_taken_in_once():
    memory = plain()
    state, _x = people(memory)
    waiting = memory.connect(state, ids(0), ids(1))
    assert memory.inspect(waiting)["pending"].tolist() == [1]
    before, after = (memory.storage.entries(s.nodes).values for s in (state, waiting))
    assert torch.equal(before, after), "a message is not taken in before it is needed"
    settled = memory.propagate(waiting, 0)
    assert memory.inspect(settled)["pending"].tolist() == [0]
    assert memory.inspect(settled)["edges"].tolist() == [1]
    query = random(1, 2, D, seed=5)
    assert torch.equal(memory.read(waiting, query), memory.read(settled, query))
    assert not torch.allclose(memory.read(waiting, query), memory.read(state, query))
    assert_states(memory.propagate(settled, 0), settled, exact=True)
    _, went_on = memory(query, waiting)
    assert memory.inspect(went_on)["pending"].tolist() == [0]


def test_waiting_messages_survive_a_checkpoint():
    memory = plain()
    state, _x = people(memory)
    state = memory.connect(state, ids(0, 1), ids(1, 2), ids(0, 1), random(1, 2, D, seed=2))
    file = io.BytesIO()
    torch.save({"model": memory.state_dict(), "memory": state}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    resumed = plain()
    for parameter in resumed.parameters():
        torch.nn.init.zeros_(parameter)
    resumed.load_state_dict(loaded["model"])
    assert type(loaded["memory"]) is type(state)
    assert loaded["memory"].edges.pending.sum() == 2
    query = random(1, 3, D, seed=5)
    (y, after), (y_resumed, after_resumed) = memory(query, state), resumed(query, loaded["memory"])
    assert torch.equal(y, y_resumed)
    assert_states(after_resumed, after, exact=True)


def test_a_typed_edge_speaks_by_its_type_direction_and_features():
    memory = plain()
    state, _x = people(memory)
    query = random(1, 1, D, seed=5)
    features = random(1, 1, D, seed=6)
    reads = [
        memory.read(memory.connect(state, *event), query)
        for event in (
            (ids(0), ids(1)),
            (ids(0), ids(1), ids(1)),
            (ids(1), ids(0)),
            (ids(0), ids(1), None, features),
        )
    ]
    for n, one in enumerate(reads):
        assert all(not torch.allclose(one, other) for other in reads[n + 1 :])


def test_past_the_last_place_the_oldest_edge_goes():
    memory = plain(edges=2)
    state, _x = people(memory)
    all_at_once = memory.connect(state, ids(0, 1, 2), ids(1, 2, 0))
    one_by_one = state
    for source, target in ((0, 1), (1, 2), (2, 0)):
        one_by_one = memory.connect(one_by_one, ids(source), ids(target))
    assert_states(all_at_once, one_by_one, exact=True)
    kept = {
        (int(s), int(t))
        for s, t in zip(all_at_once.edges.source[0], all_at_once.edges.target[0], strict=True)
    }
    assert kept == {(1, 2), (2, 0)}


def test_an_event_needs_nodes():
    memory = plain()
    state, x = people(memory)
    nothing = memory.connect(state, ids(-1, 0, 5), ids(0, -1, 0))
    assert memory.inspect(nothing)["edges"].tolist() == [0]
    unknown = memory.find(state, -x[:, :1])
    assert unknown.tolist() == [[-1]]
    for wrong, named in (
        ((ids(6), ids(0)), "source"),
        ((ids(0), ids(-2)), "target"),
        ((ids(0), ids(0), ids(2)), "rel"),
    ):
        with pytest.raises(ValueError, match=named):
            memory.connect(state, *wrong)
    with pytest.raises(ValueError, match="same shape"):
        memory.connect(state, ids(0, 1), ids(0))


def test_erase_removes_a_node_its_edges_and_its_messages():
    memory = plain()
    state, x = people(memory)
    linked = memory.connect(state, ids(0, 0), ids(1, 2))
    erased = memory.erase(linked, x[:, 1:2])
    assert memory.find(erased, x).tolist() == [[0, -1, 2]]
    assert memory.inspect(erased)["edges"].tolist() == [1]
    never = memory.erase(memory.connect(state, ids(0), ids(2)), x[:, 1:2])
    query = random(1, 2, D, seed=5)
    torch.testing.assert_close(memory.read(erased, query), memory.read(never, query))
    emptied = memory.erase(linked, x)
    assert torch.equal(memory.read(emptied, query), torch.zeros_like(query))
    assert memory.inspect(emptied)["edges"].tolist() == [0]


def test_a_node_that_takes_a_place_takes_no_edges_with_it():
    memory = plain(slots=3)
    state, _x = people(memory)
    state = memory.connect(state, ids(0, 1), ids(1, 2))
    state = memory.write(state, random(1, 1, D, seed=9))
    kept = state.edges.present[0]
    assert [
        (int(s), int(t))
        for s, t in zip(state.edges.source[0][kept], state.edges.target[0][kept], strict=True)
    ] == [(1, 2)]


def test_a_node_that_is_written_again_keeps_its_edges():
    torch.manual_seed(0)
    memory = GraphMemory(D, VectorStorage(K, V, slots=3, policy="content"), edges=4).double()
    state, x = people(memory)
    state = memory.connect(state, ids(0), ids(1))
    again = memory.write(state, x[:, :1])
    assert memory.inspect(again)["edges"].tolist() == [1]


# --- reads ----------------------------------------------------------------------------------------------


def test_a_read_by_name_sees_the_neighbourhood_only():
    memory = plain()
    state, _x = people(memory, count=5)
    state = memory.propagate(memory.connect(state, ids(0, 2, 3), ids(1, 1, 4)), 0)  # 0 → 1 ← 2, 3 → 4
    query = random(1, 1, D, seed=5)
    reach = {0: {0}, 1: {0, 1}, 2: {0, 1, 2}, 3: {0, 1, 2}}
    for hops, near in reach.items():
        with memory.tracing() as reads:
            found = memory.read(state, query, nodes=ids(0), hops=hops)
        weights = reads[0].weights[0, 0]
        assert set(weights.nonzero().flatten().tolist()) == near
        entries = memory.storage.entries(state.nodes)
        chosen = sorted(near)
        scores = entries.keys[0, chosen] @ (memory.query_proj.weight @ query[0, 0]) / K**0.5
        expected = scores.softmax(-1) @ entries.values[0, chosen]
        torch.testing.assert_close(weights @ entries.values[0], expected)
        torch.testing.assert_close(found[0, 0], torch.tanh(memory.out_proj.weight[:, :V] @ expected))
    assert torch.equal(memory.read(state, query, nodes=ids(-1)), torch.zeros_like(query))
    with pytest.raises(ValueError, match="hops"):
        memory.read(state, query, nodes=ids(0), hops=-1)
    y, _ = memory(query, state, nodes=ids(3))
    assert not torch.allclose(y, memory(query, state)[0])


# --- what every memory keeps to -------------------------------------------------------------------------


def test_any_split_equals_the_whole(memory: GraphMemory):
    x = random(2, 9, D)
    mask = torch.tensor([[True] * 9, [True, False, True, True, False, True, False, True, True]])
    start = memory.write(memory.initial_state(2), random(2, 2, D, seed=8))
    start = memory.connect(start, torch.tensor([[0], [1]]), torch.tensor([[1], [0]]))
    whole, end = memory(x, start, mask)
    for cuts in ((1, 1, 2, 7), tuple(range(1, 9))):
        state, outputs = start, []
        for first, last in zip((0, *cuts), (*cuts, 9), strict=True):
            y, state = memory(x[:, first:last], state, mask[:, first:last])
            outputs.append(y)
        torch.testing.assert_close(torch.cat(outputs, 1), whole)
        assert_states(state, end)


def test_padding_changes_nothing(memory: GraphMemory):
    x = random(2, 6, D)
    mask = torch.tensor([True, True, False, True, False, True]).expand(2, 6)
    spoiled = x.masked_fill(~mask.unsqueeze(-1), torch.nan).requires_grad_()
    alone = x[:, mask[0]].clone().requires_grad_()
    (padded, end), (expected, expected_end) = memory(spoiled, mask=mask), memory(alone)
    torch.testing.assert_close(padded[:, mask[0]], expected)
    assert torch.equal(padded[:, ~mask[0]], torch.zeros(2, 2, D).double())
    assert_states(end, expected_end)
    padded.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(spoiled.grad[:, mask[0]], alone.grad)
    assert torch.equal(spoiled.grad[:, ~mask[0]], torch.zeros(2, 2, D).double())
    masked_out = torch.zeros(2, 6, dtype=torch.bool)
    waiting = memory.connect(end, torch.zeros(2, 1).long(), torch.ones(2, 1).long())
    _, untouched = memory(spoiled.detach(), waiting, masked_out)
    assert_states(untouched, waiting, exact=True)
    for verb in (memory.write, memory.erase):
        assert_states(verb(end, spoiled.detach(), masked_out), end, exact=True)


def test_batch_items_are_strangers(memory: GraphMemory):
    x = random(3, 4, D).requires_grad_()
    y, state = memory(x)
    state = memory.connect(state, torch.tensor([[0], [1], [0]]), torch.tensor([[1], [0], [2]]))
    query = random(3, 2, D, seed=5)
    read = memory.read(state, query)
    for item in range(3):
        index = torch.tensor([item])
        alone, _own = memory(x[index])
        torch.testing.assert_close(alone, y[index])
        torch.testing.assert_close(memory.read(memory.select(state, index), query[index]), read[index])
    gradient = torch.autograd.grad(y[0].sum(), x)[0]
    assert gradient[0].ne(0).any()
    assert not gradient[1:].any()
    reset = memory.reset(state, torch.tensor([False, True, False]))
    assert torch.equal(memory.read(reset, query)[1], torch.zeros(2, D).double())
    torch.testing.assert_close(memory.read(reset, query)[[0, 2]], read[[0, 2]])
    assert_states(memory.select(reset, torch.tensor([1])), memory.initial_state(1), exact=True)


def test_batch_axes_may_be_none_or_two(memory: GraphMemory):
    x = random(2, 2, 5, D)
    y, state = memory(x)
    alone, own = memory(x[1, 0])
    torch.testing.assert_close(y[1, 0], alone)
    assert_states(map_state(lambda tensor: tensor[1, 0], state), own)
    one = memory.connect(own, torch.tensor([0]), torch.tensor([1]))
    assert memory.read(one, x[0, 0]).shape == (5, D)
    reset = memory.reset(own, torch.tensor(True))
    assert_states(reset, memory.initial_state(), exact=True)


def test_a_state_is_a_value_and_can_be_saved(memory: GraphMemory):
    x = random(2, 4, D)
    _, state = memory(x)
    state = memory.connect(state, torch.zeros(2, 1).long(), torch.ones(2, 1).long())
    before = map_state(torch.clone, state)
    results = [
        (memory.read(state, x), *leaves(memory(x, state)[1]), *leaves(memory.propagate(state, 2)),
         *leaves(memory.write(state, x)), *leaves(memory.erase(state, x)))
        for _ in range(2)
    ]  # fmt: skip
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    assert_states(state, before, exact=True)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    assert torch.equal(memory.read(torch.load(file, weights_only=True), x), memory.read(state, x))


def test_gradients_reach_every_parameter_and_the_features_of_an_event(memory: GraphMemory):
    x = random(2, 4, D).requires_grad_()
    features = random(2, 1, D, seed=4).requires_grad_()
    _, state = memory(x)
    state = memory.connect(state, ids(2, 2).mT, ids(3, 3).mT, features=features)
    y, _ = memory(random(2, 3, D, seed=5), state)
    y.square().sum().backward()
    named = {n: p for n, p in memory.named_parameters() if p.requires_grad}
    named |= {"x": x, "features": features}
    for name, tensor in named.items():
        assert tensor.grad is not None, f"{name} has a gradient"
        assert tensor.grad.isfinite().all(), f"{name} has a finite gradient"
        assert tensor.grad.ne(0).any(), f"{name} has a gradient that is not zero"


def test_bad_arguments_are_named():
    storage = VectorStorage(K, V, slots=3)
    for arguments, named in (({"edges": 0}, "edges"), ({"relations": 0}, "relations")):
        with pytest.raises(ValueError, match=named):
            GraphMemory(D, storage, **arguments)
    with pytest.raises(ValueError, match="model_size"):
        GraphMemory(0, storage)
    with pytest.raises(ValueError, match="HashStorage is set to integer keys"):
        GraphMemory(D, HashStorage(1, V, buckets=4, capacity=2, integer_keys=True))


def test_without_pytorch_geometric_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "recollect.memories.message_passing", raising=False)
    for name in ("torch_geometric", "torch_geometric.nn"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install recollect\[graph\]"):
        GraphMemory(D, VectorStorage(K, V, slots=3))
