"""RelationalMemory: its formula term by term, what it keeps, and what it forgets."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recollect import HashStorage, LinkedStorage, RelationalMemory, TemporalLinkStorage, VectorStorage

D, N, HEADS, ROUNDS = 6, 5, 2, 3


def made(storage=None, **options):
    torch.manual_seed(0)
    storage = storage or VectorStorage(D, D, slots=N)
    memory = RelationalMemory(D, storage, rounds=ROUNDS, heads=HEADS, **options).double()
    with torch.no_grad():  # away from zero biases and near-zero round vectors, where terms could be left out
        for parameter in memory.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return memory


def data(*shape: int) -> Tensor:
    return torch.randn(*shape, D, dtype=torch.float64)


def by_hand(memory: RelationalMemory, facts: Tensor, ages: Tensor, question: Tensor) -> Tensor:
    """The docstring's formula for facts ``(n, D)`` and one question ``(D,)``, one vector after another."""
    begin = [
        memory.input_norm(fact + memory.temporal_encoding(age)) for fact, age in zip(facts, ages, strict=True)
    ]
    begin.append(
        memory.input_norm(question + memory.temporal_encoding(torch.tensor(0))) + memory.query_embedding
    )
    m, width = torch.stack(begin), D // HEADS
    for s in memory.round_embedding:
        q, k, v = ((m + s) @ memory.qkv_proj.weight.T + memory.qkv_proj.bias).split(D, -1)
        reads = []
        for h in range(HEADS):
            head = slice(h * width, (h + 1) * width)
            keys, values = k[:-1, head], v[:-1, head]  # the question is no entry
            reads.append((q[:, head] @ keys.T / width**0.5).softmax(-1) @ values)
        m = memory.attention_norm(m + memory.attention_proj(torch.cat(reads, -1)))
        m = memory.mlp_norm(m + memory.mlp(m))
    return memory.out_proj(m[-1])


def test_a_read_is_the_formula_term_by_term():
    memory, facts, questions = made(), data(2, 3), data(2, 2)
    y = memory.read(memory.write(memory.initial_state(2), facts), questions)
    ages = torch.tensor([3, 2, 1])
    for b in range(2):
        for q in range(2):
            torch.testing.assert_close(y[b, q], by_hand(memory, facts[b], ages, questions[b, q]))


def test_what_has_been_evicted_has_no_part_and_the_others_keep_their_age():
    memory, facts, question = made(), data(1, N + 2), data(1, 1)
    state = memory.initial_state(1)
    for piece in facts.split([4, 1, N - 3], 1):
        state = memory.write(state, piece)
    ring = [5, 6, 2, 3, 4]  # the last two stand where the first two stood
    ages = N + 2 - torch.tensor(ring)
    torch.testing.assert_close(
        memory.read(state, question)[0, 0], by_hand(memory, facts[0, ring], ages, question[0, 0])
    )


def test_what_is_erased_has_no_part_in_the_answer():
    memory, facts, question = made(VectorStorage(D, D, slots=N, match_start=0.99)), data(1, 3), data(1, 1)
    state = memory.erase(memory.write(memory.initial_state(1), facts), facts[:, 1:2])
    left = by_hand(memory, facts[0, [0, 2]], torch.tensor([3, 1]), question[0, 0])
    torch.testing.assert_close(memory.read(state, question)[0, 0], left)


def test_an_empty_memory_answers_from_the_question_alone():
    memory, question = made(), data(2, 1)
    y = memory.read(memory.initial_state(2), question)
    assert y.isfinite().all()
    assert not torch.allclose(y[0], y[1])
    facts = data(2, 2)
    unwritten = memory.write(memory.initial_state(2), facts, torch.zeros(2, 2, dtype=torch.bool))
    torch.testing.assert_close(memory.read(unwritten, question), y)


def test_every_question_is_answered_as_if_alone():
    memory, questions = made(), data(2, 3)
    state = memory.write(memory.initial_state(2), data(2, 4))
    together = memory.read(state, questions)
    for q in range(3):
        torch.testing.assert_close(memory.read(state, questions[:, q : q + 1]), together[:, q : q + 1])
    mask = torch.tensor([[True, False, True]] * 2)
    torch.testing.assert_close(memory.read(state, questions, mask), together * mask.unsqueeze(-1))


def test_tracing_shows_each_round_and_changes_nothing():
    memory, question = made(), data(2, 1)
    state = memory.write(memory.initial_state(2), data(2, 4))
    with memory.tracing() as reads:
        traced = memory.read(state, question)
    torch.testing.assert_close(traced, memory.read(state, question))
    assert [read.weights.shape for read in reads] == [(2, HEADS, 1, 4)] * ROUNDS
    for read in reads:
        torch.testing.assert_close(read.weights.sum(-1), torch.ones(2, HEADS, 1, dtype=torch.float64))


def test_all_parameters_have_a_part():
    memory, facts = made(), data(2, 3).requires_grad_()
    memory.read(memory.write(memory.initial_state(2), facts), data(2, 1)).square().sum().backward()
    assert (facts.grad.abs().sum(-1) > 0).all()
    for name, parameter in memory.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "storage",
    [
        HashStorage(D, D, buckets=2, capacity=8, tables=2, entries=N),
        TemporalLinkStorage(D, D, slots=N),
        LinkedStorage(D, D, slots=N, buckets=2, capacity=8),
    ],
    ids=["hash", "soft", "hard"],
)
def test_any_storage_with_entries_will_do(storage):
    facts, question = data(1, 3), data(1, 1)
    memory, other = made(), made(storage)
    other.load_state_dict(
        {**other.state_dict(), **{k: v for k, v in memory.state_dict().items() if "storage" not in k}}
    )
    y = other.read(other.write(other.initial_state(1), facts), question)
    torch.testing.assert_close(y, memory.read(memory.write(memory.initial_state(1), facts), question))


def test_unsuitable_arguments_are_named():
    for options, message in (
        ({"rounds": 0}, "rounds must be"),
        ({"heads": 4}, "heads must divide"),
        ({"expand": 0}, "expand"),
    ):
        with pytest.raises(ValueError, match=message):
            RelationalMemory(D, VectorStorage(D, D, slots=N), **options)
    with pytest.raises(ValueError, match="key_size 4"):
        RelationalMemory(D, VectorStorage(4, D, slots=N), heads=HEADS)


def test_it_learns_a_chain_of_two_facts():
    """Facts say a → b and b → c, among others; asked for a, the answer is c."""
    torch.manual_seed(0)
    names, size = 5, 32
    memory = RelationalMemory(size, VectorStorage(size, size, slots=8), rounds=2, heads=2)
    first, second = torch.nn.Embedding(names, size), torch.nn.Embedding(names, size)
    parameters = [*memory.parameters(), *first.parameters(), *second.parameters()]
    optimizer = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=3e-3)
    for _ in range(250):
        loss, _ = chain(memory, first, second, names, 64)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert chain(memory, first, second, names, 512)[1] > 0.9


def chain(memory, first, second, names, batch) -> tuple[Tensor, float]:
    order = torch.rand(batch, names).argsort(1)
    state = memory.write(memory.initial_state(batch), first(order[:, :-1]) + second(order[:, 1:]))
    asked = torch.randint(names - 2, (batch, 1))
    answer = order.gather(1, asked + 2).squeeze(1)
    scores = memory.read(state, first(order.gather(1, asked))).squeeze(1) @ second.weight.T
    return F.cross_entropy(scores, answer), float((scores.argmax(-1) == answer).float().mean())
