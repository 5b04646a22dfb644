import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recollect.training.batching import length_batches, sort_in_chunks


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=300),
    batch_size=st.integers(1, 40),
    seed=st.none() | st.integers(0, 5),
)
def test_every_item_is_in_one_batch_and_batches_are_even_and_never_too_large(lengths, batch_size, seed):
    batches = length_batches(torch.tensor(lengths), batch_size, seed=seed)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    sizes = {len(batch) for batch in batches}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == -(-len(lengths) // batch_size)


def test_no_item_no_batch():
    assert length_batches(torch.zeros(0, dtype=torch.long), 4) == []
    assert length_batches(torch.zeros(0, dtype=torch.long), 4, seed=1) == []


def test_the_order_is_a_function_of_the_seed():
    lengths = torch.randint(1, 50, (500,), generator=torch.Generator().manual_seed(0))
    assert length_batches(lengths, 8, seed=3) == length_batches(lengths, 8, seed=3)
    assert length_batches(lengths, 8, seed=3) != length_batches(lengths, 8, seed=4)


def test_a_shuffled_epoch_pads_little_yet_mixes_batches_of_all_lengths():
    lengths = torch.randint(1, 100, (20_000,), generator=torch.Generator().manual_seed(0))
    batches = length_batches(lengths, 20, seed=0)
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    assert padded < 1.05 * int(lengths.sum())  # cut at random it would be almost 2
    first = torch.tensor([float(lengths[batch].float().mean()) for batch in batches[:100]])
    assert first.mean() == pytest.approx(50, abs=10)
    assert first.std() > 20


def test_without_a_seed_batches_run_from_short_to_long():
    assert length_batches(torch.tensor([3, 1, 2, 1]), 2) == [[1, 3], [2, 0]]


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        length_batches(torch.tensor([1]), 0)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    size=st.integers(1, 20),
    seed=st.integers(0, 3),
)
def test_chunks_are_sorted_by_length_and_keep_their_items_and_the_order_of_equals(lengths, size, seed):
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed))
    made = sort_in_chunks(order.split(size), torch.tensor(lengths)).split(size)
    for before, after in zip(order.split(size), made, strict=True):
        assert after.tolist() == sorted(before.tolist(), key=lengths.__getitem__)
