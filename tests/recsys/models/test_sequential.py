"""The recommender: identity of integrations at the start, padding, memory, reasons, what trains."""

import pytest
import torch

from recollect import (
    Concatenation,
    Fusion,
    HashStorage,
    Integration,
    MemoryNetwork,
    Parallel,
    PrototypeMemory,
    VectorStorage,
)
from recollect_recsys.models.gru4rec import GRU4Rec
from recollect_recsys.models.interest_memory import InterestMemory
from recollect_recsys.models.sasrec import SASRec
from recollect_recsys.models.sequential import SessionRecommender
from recollect_recsys.types import SessionBatch

INTEGRATIONS = [Concatenation, Parallel, Fusion]


def batch() -> SessionBatch:
    session = torch.tensor([[4, 5, 6], [0, 7, 0]])
    return SessionBatch(
        session=session,
        target=torch.tensor([[5, 6, 1], [7, 2, 0]]),
        length=torch.tensor([3, 2]),
        past=torch.tensor([[1, 2, 3, 8], [0, 0, 0, 0]]),
        seen=torch.tensor([[1, 2, 3, 8, 4, 5, 6], [7, 0, 0, 0, 0, 0, 0]]),
        user=torch.tensor([0, 1]),
    )


def memory() -> InterestMemory:
    return InterestMemory(8, VectorStorage(4, 4, slots=6, similarity="dot"), heads=2)


def model(integration: type[Integration] = Concatenation, **parts) -> SessionRecommender:
    torch.manual_seed(0)
    parts = {"memory": memory(), **parts}
    return SessionRecommender(9, GRU4Rec(8), integration=integration, **parts).eval()


def learned(made: SessionRecommender) -> SessionRecommender:
    """As after some training: what lets the memory in is no longer zero."""
    for name, parameter in made.named_parameters():
        if "out_proj" in name or "gate" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return made


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_a_memory_changes_nothing_before_training_and_something_after(integration: type[Integration]) -> None:
    made = model(integration)
    with_memory = made(batch())
    alone = SessionRecommender(9, GRU4Rec(8)).eval()
    alone.items.load_state_dict(made.items.state_dict())
    alone.backbone.load_state_dict(made.backbone.layer.state_dict())
    torch.testing.assert_close(with_memory, alone(batch()))
    assert not torch.allclose(learned(made)(batch())[0], with_memory[0])


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_padding_of_past_and_session_changes_nothing(integration: type[Integration]) -> None:
    made, both = learned(model(integration)), batch()
    alone = SessionBatch(
        both.session[1:, :2],
        both.target[1:, :2],
        both.length[1:],
        both.past[1:, :0],
        both.seen[1:, :1],
        both.user[1:],
    )
    torch.testing.assert_close(made(both)[1, :2], made(alone)[0])


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_nothing_that_comes_later_is_known(integration: type[Integration]) -> None:
    made, first = learned(model(integration)), batch()
    later = first._replace(session=torch.tensor([[4, 5, 9], [0, 7, 0]]))
    torch.testing.assert_close(made(later)[0, :2], made(first)[0, :2])


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_the_past_is_remembered(integration: type[Integration]) -> None:
    made, first = learned(model(integration)), batch()
    other = first._replace(past=torch.tensor([[1, 2, 3, 9], [0, 0, 0, 0]]))
    assert not torch.allclose(made(other)[0, -1], made(first)[0, -1])
    torch.testing.assert_close(made(other)[1], made(first)[1])


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_reasons_are_the_items_read_and_asking_for_them_changes_nothing(
    integration: type[Integration],
) -> None:
    made, both = learned(model(integration)), batch()
    states, attribution = made.last_state(both)
    torch.testing.assert_close(states, made(both)[torch.arange(2), both.length - 1])
    assert attribution is not None
    sums = attribution.weights.sum(1)
    told = {int(n) for n, w in zip(attribution.numbers[0], attribution.weights[0], strict=True) if w > 0}
    if integration is Fusion:  # reads what was there before the session
        assert told == {0, 1, 2, 3}
        torch.testing.assert_close(sums, torch.tensor([1.0, 0.0]))
    else:  # six places: the oldest of seven items is gone
        assert told == {1, 2, 3, 4, 5, 6}
        torch.testing.assert_close(sums, torch.ones(2))
        assert {int(n) for n in attribution.numbers[1] if n >= 0} == {0}


def test_other_memories_and_storages_of_the_core_fit() -> None:
    for part in (
        MemoryNetwork(8, VectorStorage(4, 4, slots=6), hops=2),
        MemoryNetwork(8, VectorStorage(4, 4, slots=6), hops=1, write_on_forward=True),
        InterestMemory(8, HashStorage(4, 4, buckets=4, capacity=4)),
    ):
        made = learned(model(memory=part))
        loss = made.loss(made(batch()), batch().target)
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad.isfinite().all() for p in made.parameters() if p.grad is not None)
    assert (
        learned(model(memory=MemoryNetwork(8, VectorStorage(4, 4, slots=6)))).last_state(batch())[1] is None
    )


def test_an_item_memory_is_shared_and_changes_nothing_before_training() -> None:
    shared = PrototypeMemory(8, VectorStorage(4, 4, slots=5), prototypes=5)
    made = model(memory=None, item_memory=shared)
    plain = SessionRecommender(9, GRU4Rec(8)).eval()
    plain.load_state_dict({k: v for k, v in made.state_dict().items() if not k.startswith("shared")})
    torch.testing.assert_close(made(batch()), plain(batch()))
    torch.nn.init.normal_(made.shared.out_proj.weight)
    assert not torch.allclose(made(batch()), plain(batch()))
    made.loss(made(batch()), batch().target).backward()
    assert shared.keys.grad is not None


def test_the_loss_is_of_the_targets_there_are_over_all_items() -> None:
    made, both = model(), batch()
    states = made(both)
    scores = made.scores(states)
    assert (scores[..., 0] == -torch.inf).all()
    by_hand = [
        -scores[b, t].log_softmax(-1)[both.target[b, t]]
        for b in range(2)
        for t in range(3)
        if both.target[b, t]
    ]
    torch.testing.assert_close(made.loss(states, both.target), torch.stack(by_hand).mean())
    assert made.loss(states, both.target, negatives=4).isfinite()


def test_what_was_seen_at_a_step_is_no_candidate_of_its_loss() -> None:
    made, both = model(), batch()
    histories = [[7, 1, 2], [5]]  # of the items before each user's last target, those of the session last
    target = torch.tensor([[1, 2, 3], [5, 4, 0]])
    seen = torch.tensor([[7, 1, 2], [5, 0, 0]])
    states = made(both)
    by_hand = []
    for b, step, known in ((0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 0), (1, 1, 1)):
        left = [item for item in range(1, 10) if item not in histories[b][:known]]
        scores = made.scores(states[b, step])
        by_hand.append(scores[left].logsumexp(0) - scores[target[b, step]])
    torch.testing.assert_close(made.loss(states, target, seen), torch.stack(by_hand).mean())
    last = made.loss(states[:, 2:], target[:, 2:], seen)
    torch.testing.assert_close(last, by_hand[2])


def test_sasrec_learns_to_follow() -> None:
    torch.manual_seed(0)
    made = SessionRecommender(9, SASRec(16, steps=4, heads=2))
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    items = torch.randint(1, 10, (64, 3))
    follow = items % 9 + 1
    data = SessionBatch(items, follow, torch.full((64,), 3), items[:, :0], items[:, :0], torch.arange(64))
    for _ in range(60):
        optimizer.zero_grad()
        made.loss(made(data), data.target).backward()
        optimizer.step()
    assert (made.scores(made(data)).argmax(-1) == follow).float().mean() > 0.95


def test_widths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="memory has model_size 8, but the backbone has size 16"):
        SessionRecommender(9, GRU4Rec(16), memory())
