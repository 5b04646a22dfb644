"""An argument is honoured or rejected, by name, and alike in every storage."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recollect import HashStorage, LinkedStorage, Storage, TemporalLinkStorage, VectorStorage
from recollect.ops.attention import l2_normalize
from recollect.state import map_state
from recollect.testing.trial import leaves

K, V = 4, 2

STORAGES = {
    "vector-ring": lambda: VectorStorage(K, V, slots=4),
    "vector-lru-top2": lambda: VectorStorage(K, V, slots=4, policy="lru", top_k=2),
    "hash": lambda: HashStorage(K, V, buckets=4, capacity=3),
    "hash-integers": lambda: HashStorage(K, V, buckets=4, capacity=3, integer_keys=True),
    "linked-soft": lambda: TemporalLinkStorage(K, V, slots=4),
    "linked-sparse": lambda: TemporalLinkStorage(K, V, slots=4, kept=2),
    "linked-hard": lambda: LinkedStorage(K, V, slots=4),
}


@pytest.fixture(params=STORAGES.values(), ids=STORAGES.keys())
def storage(request) -> Storage[Any]:
    return request.param()


def keys(storage: Storage[Any], *shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randint(0, 5, (*shape, K)) if storage.integer_keys else torch.randn(*shape, K)


@pytest.mark.parametrize("strength", [1.5, -0.25, float("nan")])
def test_a_strength_out_of_range_is_refused(storage: Storage[Any], strength: float):
    state, key, value = storage.initial_state(), keys(storage, 2), torch.ones(2, V)
    bad = torch.tensor([0.5, strength])
    for call in (
        lambda: storage.write(state, key, value, bad),
        lambda: storage.erase(state, key, bad),
        lambda: storage.scan(state, key, key, value, bad),
        lambda: storage.scan(state, key, key, value, None, bad),
    ):
        with pytest.raises(ValueError, match=r"strength must be in \[0, 1\]"):
            call()
    with pytest.raises(ValueError, match="strength must be floating point"):
        storage.write(state, key, value, torch.ones(2, dtype=torch.int64))
    # Where it is masked, it is of no consequence.
    mask = torch.tensor([True, False])
    filled = storage.entries(storage.write(state, key, value, bad, mask)).filled
    assert filled.sum() == 0.5


@pytest.mark.parametrize(
    ("batch", "other"), [((2,), ()), ((2,), (3,)), ((2,), (1,)), ((2,), (2, 1))], ids=str
)
def test_batch_axes_other_than_the_state_s_are_refused(storage: Storage[Any], batch, other):
    state, key = storage.initial_state(*batch), keys(storage, *other, 1)
    value, slots = torch.ones(*other, 1, V), torch.zeros(*other, 1, dtype=torch.int64)
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("query", lambda: storage.read(state, key)),
        ("query", lambda: storage.reader(state)(key)),
        ("key", lambda: storage.write(state, key, value)),
        ("key", lambda: storage.place(state, key, value)),
        ("key", lambda: storage.erase(state, key)),
        ("value", lambda: storage.update(state, slots, value)),
        ("(query|key)", lambda: storage.scan(state, key, key, value)),
    ]
    for name, call in calls:
        with pytest.raises(ValueError, match=f"^{name} (of|must have) shape"):
            call()


def test_a_scan_of_unequal_lengths_is_refused(storage: Storage[Any]):
    """Not cut to the shortest, nor gone on with without a key."""
    state, four, three = storage.initial_state(2), keys(storage, 2, 4), keys(storage, 2, 3)
    value, rates = torch.ones(2, 4, V), torch.rand(2, 5)
    for arguments in (
        (three, four, value),
        (four, three, value),
        (four, four, value[:, :3]),
        (four, four, value, rates),
        (four, four, value, None, rates),
        (four, four, value, None, None, rates > 0),
    ):
        with pytest.raises(ValueError, match="as many steps"):
            storage.scan(state, *arguments)


def test_slots_that_are_no_integers_are_refused(storage: Storage[Any]):
    state, value = storage.initial_state(2), torch.ones(2, 1, V)
    for slots in (
        torch.zeros(2, 1),
        torch.zeros(2, 1, dtype=torch.bool),
        torch.zeros(2, 2, dtype=torch.int64),
    ):
        with pytest.raises(ValueError, match="slots must hold integers of shape"):
            storage.update(state, slots, value)
    written = storage.write(state, keys(storage, 2, 1), value)
    updated = storage.update(written, torch.zeros(2, 1, dtype=torch.int32), 3 * value)
    assert storage.entries(updated).values.max() == 3


def test_where_to_reset_is_bool_of_the_batch_axes(storage: Storage[Any]):
    state = storage.initial_state(2)
    for where in (torch.tensor([1, 0]), torch.tensor(True), torch.ones(3, dtype=torch.bool)):
        with pytest.raises(ValueError, match="where"):
            storage.reset(state, where)


@pytest.mark.parametrize("batch", [(0,), (2,)], ids=["no items", "no rows"])
def test_nothing_can_be_done_with_nothing(storage: Storage[Any], batch: tuple[int, ...]):
    """No batch items, or no rows: every verb gives what is as empty, and changes nothing."""
    n = 2 if batch == (0,) else 0
    empty, key = storage.initial_state(*batch), keys(storage, *batch, n)
    value, slots = torch.ones(*batch, n, V), torch.zeros(*batch, n, dtype=torch.int64)
    rates = torch.rand(*batch, n)
    state = storage.erase(storage.write(empty, key, value, rates), key, rates)
    state = storage.update(state, slots, value)
    output, state = storage.scan(state, key, key, value, rates, rates)
    for shape in (output.shape, storage.read(state, key).value.shape, storage.reader(state)(key).value.shape):
        assert shape == (*batch, n, V)
    assert storage.inspect(state)["occupancy"].shape == batch
    with torch.no_grad():
        state = storage.write(map_state(torch.clone, state), key, value, rates, inplace=True)
        state = storage.update(storage.erase(state, key, inplace=True), slots, value, inplace=True)
    for ours, theirs in zip(leaves(state), leaves(empty), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_zero_keys_and_empty_stores_are_finite_in_half_precision(storage: Storage[Any], dtype: torch.dtype):
    """A key of zeros is like nothing; normalising it must not divide zero by zero."""
    storage = storage.to(dtype)
    key = keys(storage, 2, 5)
    key = key if storage.integer_keys else torch.cat([torch.zeros(2, 1, K), key[:, 1:]], 1).to(dtype)
    value, rates = torch.randn(2, 5, V).to(dtype), torch.rand(2, 5).to(dtype)
    empty = storage.initial_state(2)
    for state in (empty, storage.write(empty, key[:, :1], value[:, :1]), storage.write(empty, key, value)):
        output, after = storage.scan(state, key, key, value, rates, rates)
        for found in (output, storage.read(after, key).value, storage.reader(state)(key).value):
            assert found.dtype == dtype
            assert found.isfinite().all()
        assert storage.read(empty, key).value.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_unit_vectors_have_length_one_and_zero_stays_zero(dtype: torch.dtype):
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.006, 0.008]], dtype=dtype, requires_grad=True)
    lengths = l2_normalize(x).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 0.0, 1.0], dtype=dtype), atol=1e-2, rtol=0)
    (gradient,) = torch.autograd.grad(l2_normalize(x).sum(), x)
    assert gradient.isfinite().all()
