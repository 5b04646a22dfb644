"""The memory of a user's items: what each step reads, causality, padding, traces, states."""

import pytest
import torch

from recollect import HashStorage, Storage, TemporalLinkStorage, VectorStorage
from recollect.state import map_state
from recollect_recsys.models.interest_memory import InterestMemory, InterestState

STORAGES = {
    "vector": lambda: VectorStorage(4, 4, slots=6, similarity="dot"),
    "top-k": lambda: VectorStorage(4, 4, slots=6, top_k=2),
    "hash": lambda: HashStorage(4, 4, buckets=2, capacity=8, tables=2),
    "linked": lambda: TemporalLinkStorage(4, 4, slots=6),
}


def memory(storage: Storage | None = None, heads: int = 2) -> InterestMemory:
    torch.manual_seed(0)
    return InterestMemory(8, storage or STORAGES["vector"](), heads=heads)


def written(made: InterestMemory, past: torch.Tensor) -> InterestState:
    return made.write(made.initial_state(len(past)), past)


def test_what_is_read_of_an_only_item_is_at_first_the_item_itself() -> None:
    made, item = memory(), torch.randn(1, 1, 8)
    state = made.write(made.initial_state(1), item)
    torch.testing.assert_close(made.read(state, torch.randn(1, 1, 8)), made.norm_item(item))


def test_a_step_reads_what_the_formula_says() -> None:
    made = memory(VectorStorage(4, 4, slots=9, similarity="dot", sharpness=0.7), heads=2)
    past, items, x = torch.randn(1, 2, 8), torch.randn(1, 3, 8), torch.randn(1, 3, 8)
    y, _ = made(x, written(made, past), items=items)
    told = made.norm_item(torch.cat([past, items], 1))[0]
    for t in range(3):
        read = []
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            keys, values = made.key_proj(told)[: 3 + t, part], made.value_proj(told)[: 3 + t, part]
            weights = (0.7 * keys @ made.query_proj(made.norm_state(x[0, t]))[part]).softmax(0)
            read.append(weights @ values)
        torch.testing.assert_close(y[0, t], made.out_proj(torch.cat(read)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("storage", STORAGES)
def test_traced_steps_equal_the_scan_and_tell_which_item_each_entry_is(storage: str) -> None:
    made = memory(STORAGES[storage]())
    past, items, x = torch.randn(2, 3, 8), torch.randn(2, 2, 8), torch.randn(2, 2, 8)
    state = written(made, past)
    y, after = made(x, state, items=items)
    with made.tracing() as reads:
        traced, traced_after = made(x, state, items=items)
    torch.testing.assert_close(traced, y, atol=1e-5, rtol=1e-5)
    assert len(reads) == 2
    assert reads[-1].weights is not None
    assert after.written.tolist() == [5, 5]
    assert after.order.equal(traced_after.order)
    filled = made.storage.entries(after.store).filled > 0
    for b in range(2):
        for head in range(2):
            assert sorted(after.order[b, head][filled[b, head]].tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("storage", STORAGES)
def test_tracing_without_a_gradient_gives_the_same_and_leaves_the_state_alone(storage: str) -> None:
    made = memory(STORAGES[storage]())
    past, items, x = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    state = written(made, past)
    before = map_state(torch.clone, state)
    with made.tracing():
        y, after = made(x, state, items=items)
    with torch.no_grad(), made.tracing():
        again, after_again = made(x, state, items=items)
    torch.testing.assert_close(again, y.detach())
    torch.testing.assert_close(after_again.order, after.order)
    map_state(lambda now, then: torch.testing.assert_close(now, then) or now, state, before)


def test_an_entry_is_known_by_the_number_of_its_item_when_the_ring_has_gone_round() -> None:
    made = memory(VectorStorage(4, 4, slots=3), heads=1)
    state = made.write(made.initial_state(1), torch.randn(1, 5, 8))
    assert sorted(state.order[0, 0].tolist()) == [2, 3, 4]


def test_later_items_and_padding_change_no_earlier_read() -> None:
    made = memory()
    past, items, x = torch.randn(1, 3, 8), torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    known = torch.tensor([[True, True, True, False]])
    state = made.write(made.initial_state(1), past)
    y, after = made(x, state, items=items, items_mask=known)
    other = items.clone()
    other[:, 2:] = torch.randn(1, 2, 8)
    torch.testing.assert_close(made(x, state, items=other, items_mask=known)[0][:, :2], y[:, :2])
    assert after.written.tolist() == [6]
    short, short_after = made(x[:, :3], state, items=items[:, :3])
    torch.testing.assert_close(short, y[:, :3])
    torch.testing.assert_close(short_after.store.keys, after.store.keys)


def test_gradients_reach_the_items_that_are_read() -> None:
    made = memory()
    past = torch.randn(1, 3, 8, requires_grad=True)
    items, x = torch.randn(1, 2, 8, requires_grad=True), torch.randn(1, 2, 8, requires_grad=True)
    y, _ = made(x, written(made, past), items=items)
    y.square().sum().backward()
    for tensor in (past, items, x):
        assert tensor.grad is not None
        assert (tensor.grad.abs().sum(-1) > 0).all()


def test_reset_makes_new_users_and_leaves_the_others(tmp_path) -> None:
    made = memory()
    state, x, items = written(made, torch.randn(2, 3, 8)), torch.randn(2, 2, 8), torch.randn(2, 2, 8)
    reset = made.reset(state, torch.tensor([True, False]))
    y, _ = made(x, reset, items=items)
    torch.testing.assert_close(y[0], made(x, None, items=items)[0][0], rtol=0, atol=0)
    assert y[1].equal(made(x, state, items=items)[0][1])
    torch.save(state, tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    assert made(x, loaded, items=items)[0].equal(made(x, state, items=items)[0])


def test_erase_forgets_an_item() -> None:
    made = memory(VectorStorage(8, 8, slots=6, match_start=0.99), heads=1)
    items = torch.randn(1, 3, 8)
    state = made.write(made.initial_state(1), items)
    left = made.erase(state, items[:, 1:2])
    assert (made.storage.entries(left.store).filled > 0).sum() == 2


def test_another_number_of_steps_and_wrong_storages_are_refused() -> None:
    made = memory()
    with pytest.raises(ValueError, match="got 2 items for 3 steps"):
        made(torch.randn(1, 3, 8), items=torch.randn(1, 2, 8))
    with pytest.raises(ValueError, match="integer keys"):
        InterestMemory(8, HashStorage(1, 4, integer_keys=True))
    with pytest.raises(ValueError, match="heads"):
        memory(heads=0)
