"""Clicks as rows, and what of them is set aside."""

import torch

from recollect_recsys.data.clicks import Clicks, index_events, random_holdout, unique_pairs
from recollect_recsys.data.events import Events


def test_pairs_are_numbered_sorted_and_count_once() -> None:
    events = Events("f", ["b", "a", "b", "b"], ["x", "y", "x", "new"], None, [1, 2, 3, 4])
    assert index_events(events, {"a": 0, "b": 1}, {"x": 1, "y": 2}).tolist() == [[0, 1], [2, 1]]


def test_set_aside_takes_the_share_of_each_user_and_depends_on_the_seed_alone() -> None:
    pairs = torch.stack([torch.arange(4).repeat_interleave(20), torch.arange(1, 21).repeat(4)])
    chosen = random_holdout(pairs, 0.1, seed=3)
    assert torch.bincount(pairs[0, chosen]).tolist() == [2, 2, 2, 2]
    assert torch.equal(chosen, random_holdout(pairs, 0.1, seed=3))
    assert not torch.equal(chosen, random_holdout(pairs, 0.1, seed=4))
    few = torch.tensor([[0, 1, 1], [5, 5, 6]])
    assert random_holdout(few, 0.1, seed=0)[0].item() is False
    assert int(random_holdout(few, 0.1, seed=0)[1:].sum()) == 1


def test_rows_of_nobody_and_of_nothing() -> None:
    nothing = Clicks.from_pairs(torch.zeros(2, 0, dtype=torch.int64), users=2)
    assert nothing.padded(torch.tensor([0, 1])).shape == (2, 0)
    assert nothing.padded(torch.tensor([], dtype=torch.int64)).shape == (0, 0)
    assert unique_pairs(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0)
