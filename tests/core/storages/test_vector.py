"""VectorStorage: its formula, its policies, its presence, and its parallel scan."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recollect import VectorStorage
from recollect.storages import vector

K, V = 4, 2
EYE = torch.eye(K)


def values(*numbers: float) -> Tensor:
    """Values (W, V) that tell entries apart."""
    return torch.tensor(numbers).unsqueeze(-1) * torch.ones(V)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def held(storage: VectorStorage, state) -> list[float]:
    """First column of the values, 0 for a free place."""
    entries = storage.entries(state)
    return [
        v if p else 0.0 for v, p in zip(entries.values[:, 0].tolist(), entries.filled.tolist(), strict=True)
    ]


# --- the formula ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("sharpness", [None, 2.5])
def test_weights_are_presence_times_exp_of_similarity(similarity: str, sharpness: float | None):
    storage = VectorStorage(K, V, slots=6, similarity=similarity, sharpness=sharpness).double()
    key, value, query = random(4, K), random(4, V, seed=1), random(3, K, seed=2)
    strength = torch.tensor([1.0, 0.25, 0.0, 0.7], dtype=torch.float64)
    read = storage.read(storage.write(storage.initial_state(), key, value, strength), query)
    factor = sharpness or (10.0 if similarity == "cosine" else 1 / math.sqrt(K))
    for q in range(3):
        scores = [
            float(query[q] @ key[n])
            / (float(query[q].norm() * key[n].norm()) if similarity == "cosine" else 1)
            for n in range(4)
        ]
        parts = [float(strength[n]) * math.exp(factor * scores[n]) for n in range(4)]
        expected = torch.tensor([part / sum(parts) for part in parts] + [0, 0], dtype=torch.float64)
        torch.testing.assert_close(read.weights[q], expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(read.value[q], expected[:4] @ value, rtol=1e-6, atol=1e-6)
    assert read.slots is None


def test_top_k_is_the_formula_over_the_k_best():
    storage = VectorStorage(K, V, slots=6, top_k=2).double()
    key, value, query = random(5, K), random(5, V, seed=1), random(3, K, seed=2)
    state = storage.write(storage.initial_state(), key, value)
    read = storage.read(state, query)
    scores = 10 * F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).mT
    best, slots = scores.topk(2, -1)
    assert torch.equal(read.slots, slots)
    torch.testing.assert_close(read.weights, best.softmax(-1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        read.value, (best.softmax(-1).unsqueeze(-1) * value[slots]).sum(-2), rtol=1e-6, atol=1e-6
    )


def test_top_k_prefers_what_is_present_and_reads_zero_where_nothing_is():
    storage = VectorStorage(K, V, slots=3, top_k=2)
    state = storage.write(storage.initial_state(), EYE[:1], values(7))
    torch.testing.assert_close(storage.read(state, -EYE[:1]).value, values(7))
    assert torch.equal(storage.read(storage.initial_state(), EYE).value, torch.zeros(K, V))


def test_sharpness_can_be_learned_and_stays_positive():
    storage = VectorStorage(K, V, slots=3, learn_sharpness=True)
    state = storage.write(storage.initial_state(), EYE[:2], values(1, 2))
    storage.read(state, EYE[:1] + 0.5 * EYE[1:2]).value.sum().backward()
    assert storage.log_sharpness.grad.abs() > 0
    assert not VectorStorage(K, V, slots=3).log_sharpness.requires_grad
    with torch.no_grad():
        storage.log_sharpness.fill_(-50.0)
    torch.testing.assert_close(storage.read(state, EYE[:1]).value, values(1.5))


# --- presence -----------------------------------------------------------------------------------------------


def test_erase_multiplies_presence_by_one_minus_strength_times_match():
    storage = VectorStorage(K, V, slots=3)
    state = storage.write(storage.initial_state(), EYE[:2], values(1, 2), torch.tensor([0.8, 0.6]))
    erased = storage.erase(state, EYE[:1], torch.tensor([0.25]))
    torch.testing.assert_close(storage.entries(erased).filled, torch.tensor([0.6, 0.6, 0.0]))
    # Cosine 0.7495 is half way from 0.5 to 0.999: half a match.
    near = torch.tensor([[0.7495, math.sqrt(1 - 0.7495**2), 0, 0]])
    half = storage.erase(storage.write(storage.initial_state(), EYE[:1], values(1)), near)
    torch.testing.assert_close(storage.entries(half).filled[0], torch.tensor(0.5), rtol=1e-4, atol=1e-4)


def test_a_matching_entry_is_gone_for_good_whatever_its_scale():
    storage = VectorStorage(K, V, slots=3)
    key = torch.tensor([[0.3, -1.7, 2.2, 0.01]])
    state = storage.write(storage.initial_state(), key, values(5))
    assert torch.equal(storage.erase(state, 1e3 * key).presence, torch.zeros(3))
    assert torch.equal(storage.erase(state, torch.zeros(1, K)).presence, state.presence), (
        "a zero key matches nothing"
    )


def test_the_match_of_an_erase_can_begin_elsewhere():
    near = torch.tensor([[0.8, 0.6, 0, 0]])
    for start, left in ((0.5, 1 - 0.3 / 0.499), (0.9, 1.0)):
        storage = VectorStorage(K, V, slots=2, match_start=start)
        state = storage.erase(storage.write(storage.initial_state(), EYE[:1], values(1)), near)
        torch.testing.assert_close(storage.entries(state).filled[0], torch.tensor(left), rtol=1e-4, atol=1e-4)


# --- policies -----------------------------------------------------------------------------------------------


def test_a_ring_evicts_the_oldest_whatever_is_free():
    storage = VectorStorage(K, V, slots=3)
    state = storage.write(storage.initial_state(), EYE, values(1, 2, 3, 4))
    assert held(storage, state) == [4, 2, 3]
    state = storage.erase(state, EYE[2:3])
    state = storage.write(state, EYE[:1], values(5))
    assert held(storage, state) == [4, 5, 0], "the next in turn, not the free place"


@pytest.mark.parametrize("strength", [1.0, 0.0])
def test_lru_writes_at_once_what_it_writes_one_by_one(strength: float):
    """Where there is room, entries take the free places in order; where there is none, one by one."""
    storage = VectorStorage(K, V, slots=6, policy="lru")
    key, value = torch.randn(2, 8, K), torch.randn(2, 8, V)
    state = storage.write(storage.initial_state(2), key[:, :5], value[:, :5])
    state = storage.erase(state, key[:, 1:4])
    mask = torch.tensor([[True, False, True], [False, True, True]])
    strengths = torch.tensor([[1.0, 0.0, strength], [1.0, strength, 1.0]])
    written, slots = storage.place(state, key[:, 5:], value[:, 5:], strengths, mask)
    one_by_one, taken = state, []
    for w in range(3):
        now = slice(5 + w, 6 + w)
        one_by_one, slot = storage.place(
            one_by_one, key[:, now], value[:, now], strengths[:, w : w + 1], mask[:, w : w + 1]
        )
        taken.append(slot)
    assert slots.tolist() == torch.cat(taken, 1).tolist()
    for ours, theirs in zip(written, one_by_one, strict=True):
        assert torch.equal(ours, theirs)


def test_lru_takes_a_free_place_first_then_the_least_recently_used():
    storage = VectorStorage(K, V, slots=3, policy="lru")
    state = storage.write(storage.initial_state(), EYE[:3], values(1, 2, 3))
    freed = storage.write(storage.erase(state, EYE[1:2]), EYE[3:], values(4))
    assert held(storage, freed) == [1, 4, 3]
    touched = storage.touch(state, storage.read(state, EYE[:1]))
    assert held(storage, storage.write(touched, EYE[3:], values(4))) == [1, 4, 3], (
        "what was touched is spared"
    )
    assert held(storage, storage.write(state, EYE[3:], values(4))) == [4, 2, 3]
    updated = storage.update(state, torch.tensor([0]), values(9))
    assert held(storage, storage.write(updated, EYE[3:], values(4))) == [9, 4, 3], (
        "what was updated is spared"
    )


def test_touch_goes_through_top_k_and_ignores_what_found_nothing():
    storage = VectorStorage(K, V, slots=3, policy="lru", top_k=1)
    empty = storage.initial_state()
    assert torch.equal(storage.touch(empty, storage.read(empty, EYE[:1])).usage, empty.usage)
    state = storage.write(empty, EYE[:3], values(1, 2, 3))
    touched = storage.touch(state, storage.read(state, EYE[:1]))
    assert held(storage, storage.write(touched, EYE[3:], values(4))) == [1, 4, 3]


def test_content_writes_over_the_entry_whose_key_matches():
    storage = VectorStorage(K, V, slots=3, policy="content")
    state = storage.write(storage.initial_state(), EYE[:2], values(1, 2))
    assert held(storage, storage.write(state, 3 * EYE[:1], values(9))) == [9, 2, 0], "an upsert"
    new = storage.write(state, EYE[:1] + 0.5 * EYE[2:3], values(9))
    assert held(storage, new) == [1, 2, 9], "a merely similar key is another entry"
    gone = storage.erase(state, EYE[:1])
    assert held(storage, storage.write(gone, EYE[1:2], values(9))) == [0, 9, 0]
    full = storage.write(state, EYE[2:3], values(3))
    assert held(storage, storage.write(full, EYE[3:], values(4))) == [4, 2, 3], "then the least recently used"


# --- by place -----------------------------------------------------------------------------------------------


def test_update_changes_values_and_nothing_else():
    storage = VectorStorage(K, V, slots=3)
    state = storage.write(storage.initial_state(), EYE[:2], values(1, 2), torch.tensor([0.5, 1.0]))
    new = storage.update(state, torch.tensor([1, 0, 1]), values(7, 8, 9), torch.tensor([True, False, True]))
    assert held(storage, new) == [1, 9, 0], "the last of two wins, and a masked one does nothing"
    assert torch.equal(new.presence, state.presence)
    assert torch.equal(new.keys, state.keys)
    still_empty = storage.update(state, torch.tensor([2]), values(7))
    torch.testing.assert_close(storage.read(still_empty, EYE[2:3]).value, storage.read(state, EYE[2:3]).value)
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=r"slots must be in \[0, 3\)"):
            storage.update(state, torch.tensor([wrong]), values(7))


def test_inspect_tells_occupancy_and_age():
    storage = VectorStorage(K, V, slots=4)
    state = storage.write(storage.initial_state(), EYE[:3], values(1, 2, 3))
    figures = storage.inspect(state)
    assert figures["occupancy"].item() == 0.75
    assert figures["age"].tolist() == [3, 2, 1, 0]


# --- over time ----------------------------------------------------------------------------------------------


def test_scan_of_an_empty_ring_is_causal_attention():
    storage = VectorStorage(K, V, slots=9, similarity="dot").double()
    query, key, value = random(2, 9, K), random(2, 9, K, seed=1), random(2, 9, V, seed=2)
    output, _ = storage.scan(storage.initial_state(2), query, key, value)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(output, expected, rtol=1e-6, atol=1e-6)


def test_scan_of_a_small_ring_attends_to_the_last_entries_only():
    storage = VectorStorage(K, V, slots=3, similarity="dot").double()
    query, key, value = random(8, K), random(8, K, seed=1), random(8, V, seed=2)
    output, state = storage.scan(storage.initial_state(), query, key, value)
    time = torch.arange(8)
    window = (time <= time.unsqueeze(-1)) & (time > time.unsqueeze(-1) - 3)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=window)
    torch.testing.assert_close(output, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(storage.entries(state).keys, key[[6, 7, 5]])


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("grad", [True, False])
def test_a_read_without_weights_gives_the_same_values_and_gradients(similarity, grad):
    storage = VectorStorage(K, V, slots=9, similarity=similarity, learn_sharpness=True).double()
    state = storage.write(storage.initial_state(2), random(2, 7, K), random(2, 7, V, seed=1))
    state = storage.erase(state, random(2, 7, K)[:, 2:4], torch.tensor([[0.3, 1.0]]).double().expand(2, 2))
    query = random(2, 12, K, seed=2)
    results = []
    for need_weights in (True, False):
        leaf = query.clone().requires_grad_(grad)
        with torch.set_grad_enabled(grad):
            read = storage.read(state, leaf, need_weights=need_weights)
        found = [read.value.detach()]
        if grad:
            found += torch.autograd.grad(read.value.square().sum(), [leaf, storage.log_sharpness])
        results.append(found)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_a_long_scan_goes_by_blocks(monkeypatch):
    storage = VectorStorage(K, V, slots=4).double()
    steps = random(11, K), random(11, K, seed=1), random(11, V, seed=2)
    strengths = torch.rand(2, 11, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    whole, end = storage.scan(storage.initial_state(), *steps, *strengths)
    monkeypatch.setattr(vector, "MIN_SCAN_BLOCK", 1)
    monkeypatch.setattr(vector, "MAX_SCAN_BLOCK", 3)
    by_blocks, end_by_blocks = storage.scan(storage.initial_state(), *steps, *strengths)
    torch.testing.assert_close(by_blocks, whole)
    for one, other in zip(end_by_blocks, end, strict=True):
        torch.testing.assert_close(one, other)


def test_a_scan_of_no_steps_gives_nothing_and_changes_nothing():
    for policy in ("ring", "lru"):
        storage = VectorStorage(K, V, slots=3, policy=policy)
        state = storage.write(storage.initial_state(2), EYE[:1].expand(2, 1, K), values(1).expand(2, 1, V))
        output, after = storage.scan(state, torch.zeros(2, 0, K), torch.zeros(2, 0, K), torch.zeros(2, 0, V))
        assert output.shape == (2, 0, V)
        assert all(torch.equal(one, other) for one, other in zip(after, state, strict=True))


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"key_size": 0}, "key_size"),
        ({"value_size": 0}, "value_size"),
        ({"slots": 0}, "slots"),
        ({"policy": "fifo"}, "policy"),
        ({"similarity": "euclid"}, "similarity"),
        ({"sharpness": 0.0}, "sharpness"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 4}, "top_k"),
        ({"match_start": 1.0}, "match_start"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, object], named: str):
    with pytest.raises(ValueError, match=named):
        VectorStorage(**{"key_size": K, "value_size": V, "slots": 3, **arguments})


def test_shapes_that_do_not_fit_are_named():
    storage = VectorStorage(K, V, slots=3)
    state = storage.initial_state()
    bool_mask, wrong = torch.ones(1, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    calls = {
        "query": lambda: storage.read(state, torch.ones(1, K + 1)),
        "key": lambda: storage.write(state, torch.ones(1, 3), values(1)),
        "value": lambda: storage.write(state, EYE[:1], torch.ones(1, V + 1)),
        "mask": lambda: storage.read(state, EYE[:1], wrong),
        "mask must be bool": lambda: storage.erase(state, EYE[:1], mask=bool_mask.float()),
        "strength": lambda: storage.write(state, EYE[:1], values(1), torch.ones(2)),
        "slots": lambda: storage.update(state, torch.tensor([0, 1]), values(1)),
        "no weights": lambda: storage.touch(state, storage.read(state, EYE)._replace(weights=None)),
    }
    for named, call in calls.items():
        with pytest.raises(ValueError, match=named):
            call()


def test_repr_tells_what_it_is():
    assert repr(VectorStorage(K, V, slots=3)) == (
        "VectorStorage(key_size=4, value_size=2, slots=3, policy='ring', similarity='cosine')"
    )
