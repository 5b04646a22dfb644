"""The running gate in a language model: no validation, no leak, no harm beyond its bound."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from recollect import Interpolation, NeighborMemory, VectorStorage, augment, carry, remember, without_memory

D, TOKENS = 8, 11


class LanguageModel(nn.Module):
    """A GRU over tokens."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, D)
        self.gru = nn.GRU(D, D, batch_first=True)
        self.head = nn.Linear(D, TOKENS)

    def forward(self, tokens, hidden=None):
        """Logits of the next token, and the last hidden state."""
        h, last = self.gru(self.embedding(tokens), hidden)
        return self.head(h), last


def make(share=1e-3):
    """A language model with a lasting memory and a running gate."""
    torch.manual_seed(0)
    memory = NeighborMemory(D, VectorStorage(D, 1, slots=1000), classes=TOKENS, temperature=0.1)

    def integration(*args, **options):
        return Interpolation(*args, gate="running", previous_at="embedding", share=share, **options)

    return augment(LanguageModel(), at="head", memory=memory, integration=integration)


def text(seed, length=60, rows=2):
    """Sentences that repeat a cycle of tokens."""
    start = torch.arange(rows).unsqueeze(1) + seed
    return (start + 3 * torch.arange(length)) % TOKENS


def nats(logits, tokens):
    """Loss of each next token."""
    return nn.functional.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction="none")


def test_a_useful_memory_is_used_and_the_bound_holds():
    model, tokens = make(), text(0)
    remember(model, tokens[:, :-1], tokens[:, 1:])
    with without_memory(model):
        alone = nats(model(tokens)[0], tokens)
    mixed = nats(model(tokens)[0], tokens)
    steps = tokens.shape[1] - 1
    assert mixed.sum() < 0.3 * alone.sum()
    assert (mixed.sum(-1) <= alone.sum(-1) + math.log(2) - steps * math.log(1 - 1e-3) + 1e-3).all()


def test_a_foreign_memory_does_no_harm():
    model, tokens = make(), text(0)
    remember(model, tokens[:, :-1], (tokens[:, 1:] + 1) % TOKENS)
    with without_memory(model):
        alone = nats(model(tokens)[0], tokens)
    mixed = nats(model(tokens)[0], tokens)
    bound = math.log(2) - (tokens.shape[1] - 1) * math.log(1 - 1e-3)
    assert (mixed.sum(-1) <= alone.sum(-1) + bound + 1e-3).all()


def test_a_step_sees_no_later_token():
    model, tokens = make(), text(0)
    remember(model, tokens[:, :-1], tokens[:, 1:])
    changed = tokens.clone()
    changed[:, 30:] = 0
    assert torch.allclose(model(tokens)[0][:, :30], model(changed)[0][:, :30], atol=1e-6)


def test_calls_inside_carry_equal_one_call():
    model, tokens = make(), text(0)
    remember(model, tokens[:, :-1], tokens[:, 1:])
    whole, _ = model(tokens)
    with carry(model) as session:
        parts, hidden = [], None
        for part in tokens.split([7, 1, 1, 51], 1):
            logits, hidden = model(part, hidden)
            parts.append(logits)
        weight = session.inspect()["head"]["weight"]
        session.select(torch.tensor([1]))
        assert session.state["head"].log_odds.shape == (1,)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)
    assert (weight > 0.9).all()


@pytest.mark.parametrize("left", [True, False])
def test_masked_steps_change_nothing(left):
    tokens = text(0)
    padding = torch.zeros(2, 5, dtype=torch.int64)
    order = (padding, tokens) if left else (tokens, padding)
    mask = torch.cat([torch.full_like(part, part is tokens) for part in order], 1).bool()
    kept = slice(5, None) if left else slice(0, -5)
    model = make()
    integration, plain = model.head.memory, partial(nn.Linear.forward, model.head)
    memory, x = integration.memory, torch.randn(2, tokens.shape[1], D)
    memory.remember(x.flatten(0, 1), tokens.roll(-1, 1).flatten())

    def weights(tokens, x, mask=None):
        model.embedding(tokens)  # which the gate sees
        _, state = integration.run(plain, (x,), {}, None, mask)
        return integration.last.weight, state

    model.head.memory.layouts = ("btd", "btd")
    expected, state = weights(tokens, x)
    pad = torch.randn(2, 5, D)
    found, padded = weights(torch.cat(order, 1), torch.cat((pad, x) if left else (x, pad), 1), mask)
    torch.testing.assert_close(found[:, kept], expected)
    torch.testing.assert_close(padded, state)
    assert (expected[:, -1] > 0.9).all()


def test_reset_starts_an_item_anew():
    model, tokens = make(), text(0)
    remember(model, tokens[:, :-1], tokens[:, 1:])
    with carry(model) as session:
        model(tokens)
        session.reset(torch.tensor([True, False]))
        assert session.state["head"].log_odds[0] == 0 != session.state["head"].log_odds[1]


def test_arguments():
    memory = NeighborMemory(D, VectorStorage(D, 1, slots=10), classes=TOKENS)
    with pytest.raises(ValueError, match="needs a memory of classes, and previous_at"):
        Interpolation(nn.Linear(D, TOKENS), memory, gate="running")
    with pytest.raises(ValueError, match="share must be between"):
        Interpolation(nn.Linear(D, TOKENS), memory, share=0.7)
    with pytest.raises(ValueError, match="gate must be"):
        Interpolation(nn.Linear(D, TOKENS), memory, gate="open")
    with pytest.raises(ValueError, match="between 0 and 1, got 2"):
        Interpolation(nn.Linear(D, TOKENS), memory, gate=2.0)
    with pytest.raises(ValueError, match="is called 'nowhere'"):
        augment(
            LanguageModel(),
            at="head",
            memory=memory,
            integration=lambda *a, **k: Interpolation(*a, gate="running", previous_at="nowhere", **k),
        )
