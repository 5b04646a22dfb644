"""Links as degrees: their formulas, written out by hand, and what must hold of any of them."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recollect.storages import TemporalLinkStorage
from recollect.testing.trial import leaves

SLOTS, WIDTH = 5, 8
quick = settings(max_examples=8, deadline=None, derandomize=True, database=None)
each_kept = pytest.mark.parametrize("kept", [None, SLOTS, 2])


def wide(kept: int | None = None, **arguments: Any) -> TemporalLinkStorage:
    """In float64, where only a wrong formula makes a difference."""
    return TemporalLinkStorage(WIDTH, 2, SLOTS, kept, **arguments).double()


def matrix(state: Any) -> tuple[Tensor, Tensor]:
    """L and p of either kind of links, of one unbatched state."""
    links = state.links
    if not hasattr(links, "sources"):
        return links.weights, links.precedence
    dense = torch.zeros(SLOTS, SLOTS, dtype=links.weights.dtype)
    for i in range(SLOTS):
        for weight, source in zip(links.weights[i], links.sources[i], strict=True):
            assert (source >= 0) == (weight > 0), "a link has a source, and a source is one link's"
            if source >= 0:
                assert dense[i, source] == 0, "two links of one entry come from the same one"
                dense[i, source] = weight
    return dense, links.precedence


def assert_close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def filled(storage: TemporalLinkStorage, count: int = SLOTS, seed: int = 0) -> Any:
    """Entries with orthogonal keys, written at random strengths."""
    strength = torch.rand(count, generator=torch.Generator().manual_seed(seed)).double() * 0.8 + 0.2
    keys, values = torch.eye(WIDTH).double()[:count], torch.randn(count, 2).double()
    return storage.write(storage.initial_state(), keys, values, strength)


# --- the formulas by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [None, SLOTS])
def test_writes_link_as_the_dnc_writes(kept: int | None):
    storage, strengths = wide(kept), [0.9, 0.3, 1.0, 0.6, 0.2]
    state = storage.initial_state()
    links = [[0.0] * SLOTS for _ in range(SLOTS)]
    precedence = [0.0] * SLOTS
    for i, strength in enumerate(strengths):
        weighting = [strength if n == i else 0.0 for n in range(SLOTS)]
        new = [[0.0] * SLOTS for _ in range(SLOTS)]
        for a in range(SLOTS):
            for b in range(SLOTS):
                if a != b:
                    kept_share = 1 - weighting[a] - weighting[b]
                    new[a][b] = kept_share * links[a][b] + weighting[a] * precedence[b]
        precedence = [(1 - sum(weighting)) * p + w for p, w in zip(precedence, weighting, strict=True)]
        links = new
        key, value = torch.eye(WIDTH).double()[i : i + 1], torch.ones(1, 2).double()
        state = storage.write(state, key, value, torch.tensor([strength], dtype=torch.float64))
        found, last = matrix(state)
        assert_close(found, torch.tensor(links, dtype=torch.float64))
        assert_close(last, torch.tensor(precedence, dtype=torch.float64))


@each_kept
def test_following_is_the_product_with_the_links(kept: int | None):
    storage = wide(kept)
    state = filled(storage)
    links, _ = matrix(state)
    read = storage.read(state, torch.randn(3, WIDTH).double())
    for direction, used in (("forward", links), ("backward", links.T)):
        found = storage.follow(state, read, direction)
        by_hand = [
            [sum(float(used[a, b] * read.weights[q, b]) for b in range(SLOTS)) for a in range(SLOTS)]
            for q in range(3)
        ]
        assert_close(found.weights, torch.tensor(by_hand, dtype=torch.float64))
        assert_close(found.value, torch.tensor(by_hand, dtype=torch.float64) @ state.nodes.values)


@pytest.mark.parametrize("kept", [None, SLOTS])
def test_an_insert_takes_its_share_of_what_left_the_entry_before(kept: int | None):
    storage, strength, a, new = wide(kept), 0.7, 1, 4
    state = filled(storage, count=4)
    links, precedence = (tensor.clone() for tensor in matrix(state))
    leaving = float(links[:, a].sum() + precedence[a])
    for c in range(SLOTS):
        links[c, new] = strength * links[c, a]
        links[c, a] = (1 - strength) * links[c, a]
    precedence[new] = strength * precedence[a]
    precedence[a] = (1 - strength) * precedence[a]
    links[new, a] = strength * leaving
    key, value = torch.eye(WIDTH).double()[new : new + 1], torch.ones(1, 2).double()
    found = storage.write(
        state, key, value, torch.tensor([strength], dtype=torch.float64), after=torch.tensor([a])
    )
    assert_close(matrix(found), (links, precedence))


def splice_by_hand(state: Any, i: int, degree: float) -> tuple[Tensor, Tensor]:
    """One entry out to a degree, entry by entry."""
    links, precedence = (tensor.clone() for tensor in matrix(state))
    through = max(float(links[:, i].sum() + precedence[i]), float(links[i].sum()))
    old, old_precedence = links.clone(), precedence.clone()
    for a in range(SLOTS):
        precedence[a] += degree * old_precedence[i] * old[i, a] / through
        for b in range(SLOTS):
            links[b, a] += degree * old[b, i] * old[i, a] / through
    links[i] = (1 - degree) * old[i]
    links[:, i] = (1 - degree) * old[:, i]
    precedence[i] = (1 - degree) * old_precedence[i]
    return links, precedence


@pytest.mark.parametrize("kept", [None, SLOTS])
@pytest.mark.parametrize("degree", [1.0, 0.4])
@pytest.mark.parametrize("i", range(SLOTS))
def test_an_erase_joins_the_neighbours(kept: int | None, degree: float, i: int):
    storage = wide(kept)
    state = filled(storage)
    key = torch.eye(WIDTH).double()[i : i + 1]
    found = storage.erase(state, key, torch.tensor([degree], dtype=torch.float64))
    assert_close(matrix(found), splice_by_hand(state, i, degree))
    assert_close(found.nodes.presence[i], (1 - degree) * state.nodes.presence[i])


@pytest.mark.parametrize("kept", [None, SLOTS])
def test_a_key_that_matches_several_erases_one_after_the_other(kept: int | None):
    storage = wide(kept, match_start=0.0)
    state = filled(storage)
    key = torch.tensor([[0.0, 0.8, 0.9, 0.7, 0.0, 0, 0, 0]]).double()
    degrees = (key[0] / key.norm() / 0.999)[:SLOTS]
    expected = state
    for i in (3, 1, 2):
        expected = storage.erase(expected, torch.eye(WIDTH).double()[i : i + 1], degrees[i : i + 1])
    assert_close(matrix(storage.erase(state, key)), matrix(expected))


@pytest.mark.parametrize("kept", [None, SLOTS])
@pytest.mark.parametrize("after", [-1, 0, 2])
def test_an_erase_right_after_a_write_undoes_it(kept: int | None, after: int):
    storage = wide(kept)
    state = filled(storage, count=4)
    key, value = torch.eye(WIDTH).double()[7:8], torch.ones(1, 2).double()
    written = storage.write(
        state, key, value, torch.tensor([0.3], dtype=torch.float64), after=torch.tensor([after])
    )
    assert not torch.equal(matrix(written)[0], matrix(state)[0])
    assert_close(matrix(storage.erase(written, key)), matrix(state))


def test_only_the_largest_links_of_an_entry_are_kept():
    dense, sparse = filled(wide()), filled(wide(2))
    expected = matrix(dense)[0].clone()
    for row in expected:
        row[row.argsort(descending=True)[2:]] = 0
    assert_close(matrix(sparse)[0], expected)
    assert sparse.links.weights.shape == (SLOTS, 2)


# --- what holds of any links --------------------------------------------------------------------------------


def random_steps(storages: list[TemporalLinkStorage], data: st.DataObject, steps: int) -> list[Any]:
    """The same random writes, inserts and erases, of any strength, for several storages."""
    seed = data.draw(st.integers(0, 10_000))
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randn(4, WIDTH, generator=generator).double()
    states = [storage.initial_state() for storage in storages]
    for _ in range(steps):
        chosen = torch.randint(0, 4, (2,), generator=generator)
        key = pool[chosen] + 0.4 * torch.randn(2, WIDTH, generator=generator).double()
        value = torch.randn(2, 2, generator=generator).double()
        strength = data.draw(
            st.sampled_from([torch.ones(2), torch.zeros(2), torch.rand(2, generator=generator)])
        )
        verb = data.draw(st.sampled_from(["write", "insert", "erase"]))
        after = torch.randint(-1, SLOTS, (2,), generator=generator) if verb == "insert" else None
        for n, storage in enumerate(storages):
            if verb == "erase":
                states[n] = storage.erase(states[n], key, strength.double())
            else:
                states[n] = storage.write(states[n], key, value, strength.double(), after=after)
    return states


@each_kept
@quick
@given(data=st.data())
def test_links_share_out_what_is_present_and_form_no_circle(kept: int | None, data: st.DataObject):
    [state] = random_steps([wide(kept)], data, steps=6)
    links, precedence = matrix(state)
    presence = state.nodes.presence
    assert bool((links >= 0).all())
    assert bool((precedence >= 0).all())
    assert bool((links.sum(0) + precedence <= presence + 1e-9).all())
    assert bool((links.sum(1) <= presence + 1e-9).all())
    connected = (links > 0).double()
    assert bool((torch.linalg.matrix_power(connected, SLOTS) == 0).all())


@quick
@given(data=st.data())
def test_keeping_all_links_sparsely_is_keeping_the_matrix(data: st.DataObject):
    dense, sparse = random_steps([wide(), wide(SLOTS)], data, steps=6)
    assert_close(matrix(sparse), matrix(dense))
    assert_close(tuple(sparse.nodes), tuple(dense.nodes))


@pytest.mark.parametrize("kept", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_many_steps_neither_grow_nor_spoil_the_links(kept: int | None, dtype: torch.dtype):
    torch.manual_seed(0)
    storage = TemporalLinkStorage(WIDTH, 2, SLOTS, kept)
    state, pool = storage.initial_state(dtype=dtype), torch.randn(6, WIDTH)
    with torch.no_grad():
        for _ in range(120):
            key = pool[torch.randint(0, 6, (1,))].to(dtype)
            after = torch.randint(-1, SLOTS, (1,))
            state = storage.write(state, key, key[:, :2], torch.rand(1).to(dtype), after=after)
            state = storage.erase(state, pool[torch.randint(0, 6, (1,))].to(dtype), torch.rand(1).to(dtype))
    assert state.links.weights.dtype == dtype
    for weights in (state.links.weights.sum(-1), state.links.precedence):
        assert bool(((weights >= 0) & (weights <= 1.01)).all())


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [None, SLOTS, 2])
def test_gradients_of_writes_erases_and_follows_are_right(kept: int | None):
    storage = wide(kept)
    torch.manual_seed(1)
    keys, values = torch.randn(7, WIDTH).double(), torch.randn(7, 2).double()
    strengths = torch.rand(9).double() * 0.6 + 0.2
    after = torch.tensor([-1, -1, 0, -1, 1, -1, 2])

    def follow(keys: Tensor, values: Tensor, strengths: Tensor) -> tuple[Tensor, ...]:
        state = storage.write(storage.initial_state(), keys, values, strengths[:7], after=after)
        state = storage.erase(state, keys[2:4] + 0.3 * keys[4:6], strengths[7:])
        read = storage.read(state, keys[1:3] + 0.2 * keys[3:5])
        return tuple(storage.follow(state, read, way).value for way in ("forward", "backward"))

    inputs = [tensor.requires_grad_() for tensor in (keys, values, strengths)]
    assert torch.autograd.gradcheck(follow, inputs, fast_mode=True)


@each_kept
def test_gradients_stay_finite_where_nothing_is_left(kept: int | None):
    storage = TemporalLinkStorage(WIDTH, 2, SLOTS, kept)
    keys = torch.eye(WIDTH)[:4].requires_grad_()
    strengths = torch.tensor([1.0, 0.0, 1.0, 1e-20]).requires_grad_()
    state = storage.initial_state()
    for _ in range(3):
        state = storage.write(state, keys, keys[:, :2], strengths)
        state = storage.erase(state, keys, strengths)
    state = storage.write(state, keys, keys[:, :2], strengths)
    read = storage.follow(state, storage.read(state, keys))
    (read.value.sum() + sum(t.sum() for t in leaves(state) if t.is_floating_point())).backward()
    assert bool(keys.grad.isfinite().all())
    assert bool(strengths.grad.isfinite().all())


def test_autocast_reads_and_follows_in_bfloat16():
    for kept in (None, 2):
        storage = TemporalLinkStorage(WIDTH, 2, SLOTS, kept)
        keys = torch.eye(WIDTH)[:3]
        with torch.autocast("cpu", torch.bfloat16):
            state = storage.write(storage.initial_state(), keys, keys[:, :2])
            state = storage.erase(state, keys[1:2])
            found = storage.follow(state, storage.read(state, keys[:1]))
        assert int(found.weights[0].argmax()) == 2


@pytest.mark.thorough
@pytest.mark.parametrize("kept", [None, 2])
def test_an_insert_and_a_follow_compile(kept: int | None):
    storage = wide(kept)

    def step(state: Any, new: Tensor, after: Tensor) -> Tensor:
        state = storage.write(state, new, new[:, :2], after=after)
        return storage.follow(state, storage.read(state, new), "backward").value

    torch.compiler.reset()
    arguments = (filled(storage, count=3), torch.eye(WIDTH).double()[3:4], torch.tensor([1]))
    with torch.no_grad():
        assert_close(torch.compile(step, fullgraph=True, backend="eager")(*arguments), step(*arguments))


@pytest.mark.parametrize("kept", [1, 2, None])
def test_a_chain_is_written_evicted_and_erased_at_once(kept: int | None, monkeypatch):
    """With strengths of 1 no link is dropped, so that many rows equal single ones without a loop."""
    storage = TemporalLinkStorage(12, 1, slots=8, kept=kept)
    keys, values = torch.eye(12).expand(2, 12, 12), torch.arange(24.0).view(2, 12, 1)
    state = one_by_one = storage.write(storage.initial_state(2), keys[:, :5], values[:, :5])
    for row in range(5, 12):
        one_by_one = storage.write(one_by_one, keys[:, row : row + 1], values[:, row : row + 1])
    erased_one_by_one = one_by_one
    for row in (4, 6, 7, 11):
        erased_one_by_one = storage.erase(erased_one_by_one, keys[:, row : row + 1])
    monkeypatch.setattr(storage, "_insert_one", None)  # which would be called for single rows
    written = storage.write(state, keys[:, 5:], values[:, 5:])
    erased = storage.erase(written, keys[:, [4, 6, 7, 11]])
    for ours, theirs in ((written, one_by_one), (erased, erased_one_by_one)):
        read = storage.read(ours, keys)
        for direction in ("forward", "backward"):
            expected = storage.follow(theirs, storage.read(theirs, keys), direction)
            torch.testing.assert_close(storage.follow(ours, read, direction).weights, expected.weights)
        torch.testing.assert_close(ours.links.precedence, theirs.links.precedence)


def test_only_rows_with_a_place_are_inserted_one_by_one(monkeypatch):
    storage = TemporalLinkStorage(6, 1, slots=6)
    single = []
    insert_one = storage._insert_one
    monkeypatch.setattr(storage, "_insert_one", lambda *rows: single.append(rows) or insert_one(*rows))
    after = torch.tensor([-1, -1, 0, -1, -1])
    state = storage.write(storage.initial_state(), torch.eye(6)[:5], torch.ones(5, 1), after=after)
    assert len(single) == 1
    assert storage.inspect(state)["previous"].tolist() == [-1, 2, 0, 1, 3, -1]
