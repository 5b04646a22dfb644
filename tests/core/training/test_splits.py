"""What is held out of training: the asked number, nothing twice, the same for the same seed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.training.splits import hold_out, hold_out_groups


@given(count=st.integers(1, 60), share=st.floats(0, 0.99), seed=st.integers(0, 3))
def test_each_item_is_kept_or_held_out_in_order(count, share, seed):
    number = int(share * count)
    kept, held = hold_out(count, number, seed)
    assert sorted(kept + held) == list(range(count))
    assert len(held) == number
    assert (kept, held) == (sorted(kept), sorted(held)) == hold_out(count, number, seed)


def test_another_seed_holds_out_other_items():
    assert hold_out(100, 10, 0) != hold_out(100, 10, 1)


@pytest.mark.parametrize("held_out", [3, 4, -1])
def test_all_items_cannot_be_held_out(held_out):
    with pytest.raises(ValueError, match=f"{held_out} of 3 items cannot be held out"):
        hold_out(3, held_out, 0)


@given(count=st.integers(2, 60), share=st.floats(0, 0.99), seed=st.integers(0, 3))
def test_whole_groups_are_held_out_and_one_at_least(count, share, seed):
    groups = [f"story {i}" for i in range(count)]
    held = hold_out_groups(groups, share, seed)
    assert held <= set(groups)
    assert len(held) == max(1, round(share * count))
    assert held == hold_out_groups(groups, share, seed)


def test_one_group_cannot_be_held_out():
    with pytest.raises(ValueError, match="1 groups are too few"):
        hold_out_groups(["only"], 0.5, 0)
