"""One entry a segment; a segment reads those before it."""

import pytest
import torch

from recollect import HashStorage, VectorStorage
from recollect_speech.models.summary_memory import SummaryMemory

D = 8


def memory(segment: int | None = 5, slots: int = 4, write_on_forward: bool = True) -> SummaryMemory:
    torch.manual_seed(0)
    return SummaryMemory(D, VectorStorage(D, D, slots=slots, similarity="dot"), segment, write_on_forward)


def test_each_segment_leaves_one_entry_and_the_oldest_goes() -> None:
    bank = memory(slots=2)
    _, state = bank(torch.randn(3, 17, D))  # 5 + 5 + 5 + 2
    assert state.clock.tolist() == [4, 4, 4]
    assert bank.inspect(state)["occupancy"].tolist() == [1, 1, 1]


def test_the_first_segment_reads_nothing_and_a_later_one_all_before_it() -> None:
    bank, x = memory(), torch.randn(1, 15, D)
    nothing = bank.out_proj(torch.zeros(D))
    y, _ = bank(x)
    torch.testing.assert_close(y[0, :5], nothing.expand(5, D))
    changed = x.clone()
    changed[:, 5:10] = torch.randn(1, 5, D)
    z, _ = bank(changed)
    torch.testing.assert_close(z[:, :5], y[:, :5])
    assert not torch.allclose(z[:, 10:], y[:, 10:])


@pytest.mark.parametrize("at", [5, 10, 15])
def test_pieces_of_whole_segments_give_what_the_whole_gives(at: int) -> None:
    bank, x = memory(), torch.randn(2, 18, D)
    y, state = bank(x)
    first, middle = bank(x[:, :at])
    second, last = bank(x[:, at:], middle)
    torch.testing.assert_close(torch.cat([first, second], 1), y)
    for a, b in zip(last, state, strict=True):
        torch.testing.assert_close(a, b)


def test_masked_steps_change_nothing() -> None:
    bank, x = memory(), torch.randn(2, 12, D)
    mask = torch.arange(12) < torch.tensor([[7], [12]])
    other = x.clone()
    other[0, 7:] = 9.0
    y, state = bank(x, None, mask)
    z, same = bank(other, None, mask)
    torch.testing.assert_close(y, z)
    torch.testing.assert_close(state.values, same.values)
    assert (y[0, 7:] == 0).all()
    assert state.clock.tolist() == [2, 3]  # a segment that is all padding leaves nothing
    short, _ = bank(x[:1, :7])
    torch.testing.assert_close(y[:1, :7], short)


def test_a_summary_is_the_mean_at_first() -> None:
    bank, x = memory(), torch.randn(1, 5, D)
    state = bank.write(bank.initial_state(1), x)
    torch.testing.assert_close(state.values[0, 0], bank.value_proj(bank.norm_summary(x.mean(1)))[0])


def test_what_was_written_is_erased_by_the_same() -> None:
    bank = memory()
    kept, gone = torch.randn(1, 5, D), torch.randn(1, 5, D)
    state = bank.write(bank.write(bank.initial_state(1), kept), gone)
    left = bank.erase(state, gone)
    assert left.presence[0, :2].tolist() == [pytest.approx(1, abs=0.3), 0]


def test_a_memory_that_only_reads() -> None:
    bank = memory(write_on_forward=False)
    state = bank.write(bank.initial_state(1), torch.randn(1, 5, D))
    y, same = bank(torch.randn(1, 12, D), state)
    assert same is state
    assert y.shape == (1, 12, D)


def test_the_reads_are_traced_by_segment() -> None:
    bank = memory()
    with bank.tracing() as reads:
        bank(torch.randn(1, 12, D))
    assert [tuple(read.weights.shape) for read in reads] == [(1, 5, 4), (1, 5, 4), (1, 2, 4)]


def test_nothing_at_all() -> None:
    y, state = memory()(torch.zeros(1, 0, D))
    assert y.shape == (1, 0, D)
    assert state.clock.tolist() == [0]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="segment must be at least 1"):
        memory(0)
    with pytest.raises(ValueError, match="integer keys"):
        SummaryMemory(D, HashStorage(1, D, buckets=4, capacity=2, integer_keys=True))
