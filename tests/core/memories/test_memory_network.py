"""MemoryNetwork: its formula term by term, its streaming, and what it forgets."""

import io

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_leaves

from recollect import MemoryNetwork, VectorStorage

D, K, N = 8, 4, 12

KINDS = [
    {},
    {"hops": 2, "heads": 2, "tie": "adjacent", "hop": "gated", "temporal": True},
    {"tie": "none", "hop": "mlp", "relation": True, "temporal": True, "write_on_forward": True},
    {"controller": "gru"},
    {"controller": "gru", "write_on_forward": True},
    {"controller": "lstm", "heads": 3, "temporal": True, "write_on_forward": True},
]


def network(**options: object) -> MemoryNetwork:
    torch.manual_seed(0)
    memory = MemoryNetwork(D, VectorStorage(K, K, N, similarity="dot"), **options).double()
    # The initial zero biases and the shared Q = A would hide a term that is left out.
    with torch.no_grad():
        for parameter in memory.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return memory


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def attention(memory: MemoryNetwork, facts: Tensor, u: Tensor, k: int, store: int) -> Tensor:
    """Σ_i softmax_i(Q_k u · A m_i / √K) C m_i for one head, written out."""
    m = memory.norm_entry(facts)
    keys, values = memory.key_proj[store](m), memory.value_proj[store](m)
    scores = torch.stack([memory.query_proj[k](u) @ key for key in keys]) / K**0.5
    weights = scores.exp() / scores.exp().sum()
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


@pytest.mark.parametrize("tie", ["layer", "adjacent", "none"])
def test_a_read_is_the_formula_written_out(tie: str) -> None:
    memory = network(hops=2, tie=tie)
    facts, question = normal(5, D), normal(D)
    u = memory.norm_query(question)
    for k in range(2):
        found = attention(memory, facts, u, k, store=0 if tie == "layer" else k)
        u = memory.hops[k].proj(u) + memory.read_proj[k](found)
    expected = memory.out_proj.weight @ torch.cat([u, question]) + memory.out_proj.bias

    state = memory.write(memory.initial_state(), facts)

    torch.testing.assert_close(memory.read(state, question.unsqueeze(0))[0], expected)


def test_adjacent_hops_share_an_embedding() -> None:
    memory = network(hops=3, tie="adjacent")
    assert memory.value_proj[0] is memory.key_proj[1]
    assert memory.value_proj[1] is memory.key_proj[2]


def test_a_recurrent_controller_is_fed_what_was_read() -> None:
    memory = network(hops=1, controller="gru")
    facts, x = normal(1, 3, D), normal(1, 2, D)
    state = memory.write(memory.initial_state(1), facts)
    hidden, context, outputs = torch.zeros(D).double(), torch.zeros(D).double(), []
    for x_t in x[0]:
        hidden = memory.controller(torch.cat([x_t, context]), hidden)
        u = memory.norm_query(hidden)
        context = memory.hops[0].proj(u) + memory.read_proj[0](attention(memory, facts[0], u, 0, 0))
        outputs.append(memory.out_proj(torch.cat([context, hidden])))

    y, state = memory(x, state)

    torch.testing.assert_close(y[0], torch.stack(outputs))
    torch.testing.assert_close(state.hidden[0], hidden)
    torch.testing.assert_close(state.context[0], context)


def test_time_is_counted_from_the_first_write() -> None:
    memory = network(temporal=True)
    facts = normal(1, 6, D)
    at_once = memory.write(memory.initial_state(1), facts)
    one_by_one = memory.initial_state(1)
    for t in range(6):
        one_by_one = memory.write(one_by_one, facts[:, t : t + 1])
    for a, b in zip(tree_leaves(at_once), tree_leaves(one_by_one), strict=True):
        torch.testing.assert_close(a, b)
    swapped = memory.write(memory.initial_state(1), facts.flip(1))
    question = normal(1, 1, D)
    assert not torch.allclose(memory.read(at_once, question), memory.read(swapped, question))


@pytest.mark.parametrize("options", KINDS)
@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 7), max_size=3), seed=st.integers(0, 100))
def test_any_split_of_a_sequence_equals_the_whole(options: dict, cuts: list[int], seed: int) -> None:
    memory = network(**options)
    torch.manual_seed(seed)
    x, mask = normal(2, 7, D), torch.rand(2, 7) > 0.3
    begun = memory.write(memory.initial_state(2), normal(2, 3, D))
    whole, end = memory(x, begun, mask)
    parts, state = [], begun
    for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 7], strict=True):
        y, state = memory(x[:, a:b], state, mask[:, a:b])
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    for a, b in zip(tree_leaves(state), tree_leaves(end), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("options", KINDS)
def test_padding_changes_nothing_whatever_stands_there(options: dict) -> None:
    memory = network(**options)
    x, mask = normal(1, 5, D), torch.tensor([[True, False, True, True, False]])
    kept = x[mask].unsqueeze(0)
    x = torch.where(mask.unsqueeze(-1), x, torch.nan)
    begun = memory.write(memory.initial_state(1), x, mask)
    y, end = memory(x, begun, mask)
    expected, other = memory(kept, memory.write(memory.initial_state(1), kept))
    torch.testing.assert_close(y[mask].unsqueeze(0), expected)
    assert (y[~mask] == 0).all()
    for a, b in zip(tree_leaves(end), tree_leaves(other), strict=True):
        torch.testing.assert_close(a, b)
    y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in memory.parameters())


@pytest.mark.parametrize("options", KINDS)
def test_tracing_shows_every_read_and_changes_none(options: dict) -> None:
    memory = network(**options)
    x = normal(1, 4, D)
    state = memory.write(memory.initial_state(1), normal(1, 3, D))
    y, _ = memory(x, state)
    with memory.tracing() as reads:
        traced, _ = memory(x, state)
    torch.testing.assert_close(traced, y)
    steps = 4 if memory.write_on_forward or memory.controller is not None else 1
    assert len(reads) == steps * len(memory.hops)
    for read in reads:
        torch.testing.assert_close(read.weights.sum(-1), torch.ones_like(read.weights[..., 0]))


@pytest.mark.parametrize("temporal", [False, True])
def test_erase_forgets_one_thing_and_no_other(temporal: bool) -> None:
    memory = network(temporal=temporal, hops=2, tie="none")
    memory.storage.match_start = 0.99
    facts = normal(1, 4, D)
    state = memory.write(memory.initial_state(1), facts)
    question = normal(1, 1, D)
    without = memory.erase(state, facts[:, 1:2])
    for store in without.stores:
        assert store.presence[0, 0, :4].tolist() == [1, 0, 1, 1]
    mask = torch.tensor([[True, False, True, True]])
    if not temporal:  # otherwise the others would have been written at other times
        never = memory.write(memory.initial_state(1), facts, mask)
        torch.testing.assert_close(memory.read(without, question), memory.read(never, question))
    everything = memory.erase(state, facts)
    torch.testing.assert_close(
        memory.read(everything, question),
        memory.read(memory.initial_state(1)._replace(written=state.written), question),
    )


def test_batch_items_are_picked_and_reset_alone() -> None:
    memory = network(controller="gru", write_on_forward=True)
    x = normal(3, 4, D)
    _, state = memory(x)
    question = normal(3, 1, D)
    picked = memory.select(state, torch.tensor([2, 0]))
    torch.testing.assert_close(memory.read(picked, question[[2, 0]]), memory.read(state, question)[[2, 0]])
    reset = memory.reset(state, torch.tensor([False, True, False]))
    fresh = memory.initial_state(3)
    for a, b, c in zip(tree_leaves(reset), tree_leaves(fresh), tree_leaves(state), strict=True):
        torch.testing.assert_close(a[1], b[1])
        torch.testing.assert_close(a[[0, 2]], c[[0, 2]])


def test_the_state_is_saved_and_loaded_as_tensors_only() -> None:
    memory = network(controller="lstm", write_on_forward=True, temporal=True)
    _, state = memory(normal(2, 4, D))
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    x = normal(2, 3, D)
    torch.testing.assert_close(memory(x, torch.load(file, weights_only=True))[0], memory(x, state)[0])


def test_it_learns_a_chain_of_two_facts() -> None:
    """Who has the key to the room where the object is: two hops, where one would not do."""
    torch.manual_seed(0)
    words = torch.nn.Embedding(24, 32)
    storage = VectorStorage(32, 32, 8, similarity="dot")
    memory = MemoryNetwork(32, storage, hops=2, tie="none", hop="mlp")
    parameters = [*words.parameters(), *memory.parameters()]
    optimizer = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=3e-3)
    for _ in range(250):
        facts, asked, answer = chains(64)
        state = memory.write(memory.initial_state(64), words(facts).sum(2))
        y = memory.read(state, words(asked).unsqueeze(1))[:, 0]
        loss = F.cross_entropy(y @ words.weight[16:24].T, answer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    facts, asked, answer = chains(512)
    state = memory.write(memory.initial_state(512), words(facts).sum(2))
    y = memory.read(state, words(asked).unsqueeze(1))[:, 0]
    assert ((y @ words.weight[16:24].T).argmax(-1) == answer).double().mean() > 0.9


def chains(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Four pairs (object, room) and four (room, person): asked an object, the answer is the person."""
    objects, rooms, people = (torch.rand(batch, 8).argsort(1)[:, :4] for _ in range(3))
    facts = torch.cat([torch.stack([objects, 8 + rooms], -1), torch.stack([8 + rooms, 16 + people], -1)], 1)
    return facts, objects[:, 0], people[:, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hops": 0}, "hops and heads"),
        ({"tie": "loose"}, "tie must be one of layer, adjacent, none"),
        ({"hop": "skip"}, "hop must be one of add, gated, mlp"),
        ({"controller": "rnn"}, "controller must be one of none, gru, lstm"),
    ],
)
def test_wrong_arguments_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryNetwork(D, VectorStorage(K, K, N), **options)


def test_adjacent_tying_needs_equal_widths() -> None:
    with pytest.raises(ValueError, match="equal key and value widths, got 4 and 5"):
        MemoryNetwork(D, VectorStorage(4, 5, N), tie="adjacent")
