"""A storage whose rows live outside the process, over the engine in lists."""

import copy
import re

import pytest
import torch

from recollect import VectorStorage
from recollect.state import PersistentState
from recollect.storages import ExternalStorage
from recollect.storages.external_rows import matching_rows, oldest_rows
from recollect.testing import ListEngine


def make(metric: str = "cosine", **options) -> ExternalStorage:
    return ExternalStorage(ListEngine(4, 2, metric), **options)


def rows(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, 4, generator=generator), torch.randn(*shape, 2, generator=generator)


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_it_reads_what_a_vector_storage_reads(metric: str):
    keys, values = rows(9)
    query = rows(5, seed=1)[0].requires_grad_()
    ours, theirs = make(metric, top_k=3), VectorStorage(4, 2, slots=9, similarity=metric, top_k=3)
    reads = [one.read(one.write(one.initial_state(), keys, values), query) for one in (ours, theirs)]
    torch.testing.assert_close(reads[0].value, reads[1].value)
    torch.testing.assert_close(reads[0].weights, reads[1].weights)
    assert torch.equal(reads[0].slots, reads[1].slots)
    gradients = [torch.autograd.grad(read.value.square().sum(), query)[0] for read in reads]
    torch.testing.assert_close(*gradients)


def test_weights_of_distances_are_a_softmax():
    keys, values = rows(3)
    query = rows(2, seed=1)[0]
    storage = make("l2", sharpness=0.7)
    read = storage.read(storage.write(storage.initial_state(), keys, values), query)
    expected = (-0.7 * torch.cdist(query, keys) ** 2).softmax(-1) @ values
    torch.testing.assert_close(read.value, expected)


def test_gradients_reach_the_sharpness_but_no_row():
    keys, values = (tensor.requires_grad_() for tensor in rows(3))
    storage = make(learn_sharpness=True)
    state = storage.write(storage.initial_state(), keys, values)
    query = rows(2, seed=1)[0].requires_grad_()
    storage.read(state, query).value.sum().backward()
    assert storage.log_sharpness.grad.abs() > 0
    assert query.grad.abs().sum() > 0
    assert keys.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_read_has_the_dtype_of_its_query(dtype: torch.dtype):
    keys, values = rows(3)
    storage = make()
    state = storage.write(storage.initial_state(), keys.to(dtype), values.to(dtype))
    read = storage.read(state, keys.to(dtype))
    assert read.value.dtype == dtype
    assert read.value.isfinite().all()


def test_all_who_hold_a_space_see_what_is_written():
    keys, values = rows(1)
    storage = make()
    before = storage.initial_state()
    after = storage.write(before, keys, values)
    assert torch.equal(storage.read(before, keys).value, values)
    assert (int(before.version), int(after.version)) == (0, 1)
    assert torch.equal(storage.read(make().initial_state(), keys).value, values)


def test_a_kept_state_finds_its_rows_again():
    keys, values = rows(2, 1)
    storage = make()
    kept = PersistentState(storage.initial_state(2))
    kept.set(storage.write(kept.get(), keys, values))
    loaded = PersistentState(storage.initial_state(2))
    loaded.load_state_dict(kept.state_dict())
    torch.testing.assert_close(storage.read(loaded.get(), keys).value, values)


def test_a_new_batch_never_shares_a_space_even_with_the_same_seed():
    spaces = []
    for _ in range(2):
        torch.manual_seed(0)
        spaces += make().initial_state(3, 2).space.flatten().tolist()
    assert len(set(spaces)) == 12
    assert min(spaces) > 0


def test_a_copy_of_a_module_uses_the_same_store():
    keys, values = rows(1)
    storage = make()
    copied = copy.deepcopy(storage)
    storage.write(storage.initial_state(), keys, values)
    assert torch.equal(copied.read(copied.initial_state(), keys).value, values)
    assert copied.log_sharpness is not storage.log_sharpness


def test_sources_follow_their_rows():
    keys, values = rows(2, 2)
    storage = make()
    mask = torch.tensor([[True, False], [True, True]])
    for state in (storage.initial_state(), storage.initial_state(2)):
        _, placed = storage.place(state, keys, values, mask=mask, sources=["a", "b", "c", "d"])
        origins = storage.engine.origins(placed.flatten())
        assert [origin and origin.source for origin in origins] == ["a", None, "c", "d"]
    with pytest.raises(ValueError, match="3 sources do not go with 4 rows"):
        storage.place(storage.initial_state(), keys, values, sources=["a", "b", "c"])


def test_neighbours_are_rows_with_their_numbers():
    keys, values = rows(3)
    storage = make("l2")
    state, placed = storage.place(storage.initial_state(), keys, values)
    near = storage.neighbors(state, keys.unsqueeze(0).expand(2, -1, -1), k=4)
    assert near.slots.shape == (2, 3, 4)
    assert torch.equal(near.slots[0, :, 0], placed)
    assert torch.equal(near.slots[..., 3], torch.full((2, 3), -1))
    assert torch.equal(near.presence, torch.tensor([1.0, 1.0, 1.0, 0.0]).expand(2, 3, 4))
    assert torch.equal(near.values[1, :, 0], values)
    assert not near.keys[..., 3, :].any()
    same = storage.neighbors(state, keys, 2, "l2")
    assert torch.equal(same.slots, near.slots[0, :, :2])
    with pytest.raises(ValueError, match="finds rows by 'l2', not by 'dot'"):
        storage.neighbors(state, keys, 2, "dot")


def test_a_query_that_is_not_finite_spoils_its_own_read_only():
    keys, values = rows(2)
    storage = make()
    state = storage.write(storage.initial_state(), keys, values)
    query = keys.index_fill(0, torch.tensor([0]), torch.nan)
    read = storage.read(state, query).value
    assert read[0].isnan().all()
    torch.testing.assert_close(read[1], storage.read(state, keys).value[1])


def test_a_number_beyond_single_precision_is_refused():
    keys, values = rows(2)
    storage = make()
    with pytest.raises(ValueError, match=re.escape("value[1] holds a NaN or an infinity")):
        storage.write(
            storage.initial_state(), keys.double(), values.double() * torch.tensor([[1.0], [1e300]])
        )
    assert storage.engine.count() == 0


def test_an_erase_takes_all_rows_above_the_cosine():
    keys = torch.tensor([[1.0, 0, 0, 0], [1.0, 0.1, 0, 0], [1.0, 1.0, 0, 0], [0, 0, 0, 0]])
    storage = make(match_from=0.99)
    _, placed = storage.place(storage.initial_state(), keys, torch.ones(4, 2))
    found = matching_rows(storage.engine, 0, 5 * keys[:1], 0.99)
    assert torch.equal(found, placed[:2])
    storage.erase(storage.initial_state(), keys[:1])
    assert oldest_rows(storage.engine, 0).tolist() == placed[2:].tolist()


def test_resets_and_erases_without_rows_do_nothing():
    storage = make()
    state = storage.initial_state(2)
    state = storage.reset(state, torch.tensor([True, False]))
    state = storage.erase(state, torch.ones(2, 1, 4))
    state = storage.erase_slots(state, torch.full((2, 1), -1))
    assert storage.inspect(state)["count"].tolist() == [0, 0]
    empty = storage.initial_state(0)
    assert storage.read(empty, torch.ones(0, 3, 4)).value.shape == (0, 3, 2)
    assert storage.write(empty, torch.ones(0, 3, 4), torch.ones(0, 3, 2)).space.shape == (0,)
    with pytest.raises(ValueError, match="where"):
        storage.reset(state, torch.tensor([True]))


def test_a_scan_over_time_reads_what_it_wrote():
    keys, values = rows(2, 4)
    storage = make()
    output, state = storage.scan(storage.initial_state(2), keys, keys, values)
    for t in range(4):
        one = make()
        alone = one.write(one.initial_state(2), keys[:, : t + 1], values[:, : t + 1])
        torch.testing.assert_close(output[:, t], one.read(alone, keys[:, t : t + 1]).value[:, 0])
    assert storage.inspect(state)["count"].tolist() == [4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"capacity": 0}, "capacity must be at least 1"),
        ({"sharpness": -1.0}, "sharpness must be positive"),
        ({"match_from": 0.0}, "match_from must be in"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        make(**options)
