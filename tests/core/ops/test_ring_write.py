import pytest
import torch

from recollect import VectorStorage
from recollect.ops.ring_write import common_clock, write_ring


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_rows_go_to_the_slots_in_turn(count, inplace):
    for clock in range(9):
        table, rows = torch.randn(2, 4, 3), torch.randn(2, count, 3)
        expected = table.clone()
        for n, row in enumerate(rows.unbind(1)):
            expected[:, (clock + n) % 4] = row
        before = table.clone()
        found = write_ring(table, rows, clock, 1, inplace)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        torch.testing.assert_close(table, expected if inplace else before, rtol=0, atol=0)


def test_a_state_does_not_share_memory_with_what_was_written():
    storage = VectorStorage(3, 2, slots=4)
    key, value = torch.randn(4, 3), torch.randn(4, 2)
    state = storage.write(storage.initial_state(), key, value)
    kept = state.keys.clone()
    key.zero_()
    assert bool((state.keys == kept).all())


def test_only_items_with_the_same_clock_are_written_together():
    every, some = torch.ones(2, 3, dtype=torch.bool), torch.tensor([[True] * 3, [True, False, True]])
    assert common_clock(torch.tensor([5, 5]), every) == 5
    assert common_clock(torch.tensor([5, 5]), some) is None
    assert common_clock(torch.tensor([5, 6]), every) is None
    assert common_clock(torch.tensor(7), every[0]) == 7
