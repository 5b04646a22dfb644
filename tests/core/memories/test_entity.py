"""A memory whose entries are found by their identity."""

import pytest
import torch

from recollect import EntityMemory, HashStorage, VectorStorage

D = 6


def made(key_size: int = 1, **options) -> EntityMemory:
    torch.manual_seed(0)
    return EntityMemory(D, HashStorage(key_size, D, buckets=32, integer_keys=True), **options)


def test_an_entry_is_found_by_its_id_alone_and_the_last_one_counts():
    memory, x = made(), torch.randn(2, 3, D)
    ids = torch.tensor([[4, 9, 4], [1, 2, 3]])
    state = memory.write(memory.initial_state(2), x, ids=ids)
    y = memory.read(state, ids=torch.tensor([[4, 9, 1], [1, 2, 9]]))
    torch.testing.assert_close(y[0, :2], x[0, [2, 1]])
    torch.testing.assert_close(y[1, :2], x[1, :2])
    assert not y[:, 2].any()  # ids that this item never stored


def test_n_grams_are_keys_too():
    memory, x = made(key_size=2), torch.randn(1, 2, D)
    bigrams = torch.tensor([[[3, 5], [5, 3]]])
    state = memory.write(memory.initial_state(1), x, ids=bigrams)
    torch.testing.assert_close(memory.read(state, ids=bigrams.flip(1)), x.flip(1))


def test_forward_reads_what_stood_there_before_and_then_writes():
    memory, x = made(write_on_forward=True), torch.randn(1, 4, D)
    ids, mask = torch.tensor([[7, 7, 8, 7]]), torch.tensor([[True, False, True, True]])
    y, state = memory(x, mask=mask, ids=ids)
    assert not y[0, :3].any()  # new, masked, new
    torch.testing.assert_close(y[0, 3], x[0, 0])
    first, halfway = memory(x[:, :1], mask=mask[:, :1], ids=ids[:, :1])
    rest, _ = memory(x[:, 1:], halfway, mask[:, 1:], ids=ids[:, 1:])
    torch.testing.assert_close(torch.cat([first, rest], 1), y)
    torch.testing.assert_close(memory.read(state, ids=ids)[0, 0], x[0, 3])


def test_erasing_an_id_forgets_it_and_no_other():
    memory, x, ids = made(), torch.randn(1, 3, D), torch.tensor([[1, 2, 3]])
    state = memory.write(memory.initial_state(1), x, ids=ids)
    y = memory.read(memory.erase(state, ids=ids[:, 1:2]), ids=ids)
    assert not y[0, 1].any()
    torch.testing.assert_close(y[0, [0, 2]], x[0, [0, 2]])


def test_gradients_reach_both_projections():
    memory, x, ids = made(), torch.randn(1, 2, D), torch.tensor([[1, 2]])
    memory.read(memory.write(memory.initial_state(1), x, ids=ids), ids=ids).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in memory.parameters() if p.requires_grad)


def test_one_store_serves_all_items():
    memory, x = made(), torch.randn(3, D)
    state = memory.write(memory.initial_state(), x, ids=torch.tensor([1, 2, 3]))
    ids = torch.tensor([[1, 2], [3, 1]])
    torch.testing.assert_close(memory.read(state, ids=ids), x[ids - 1])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="set VectorStorage to integer keys"):
        EntityMemory(D, VectorStorage(D, D, slots=4))
    memory = made()
    with pytest.raises(ValueError, match="pass ids="):
        memory(torch.randn(1, 2, D))
    with pytest.raises(ValueError, match="must be integers"):
        memory.read(memory.initial_state(1), ids=torch.randn(1, 2))
