"""Ranks among all items: ties, what was seen, chunks, what is no number."""

import pytest
import torch

from recollect_recsys.metrics import ranking
from recollect_recsys.metrics.ranking import mean_rank, rank_targets, top_items


def test_equal_scores_share_the_mean_of_their_places() -> None:
    torch.manual_seed(0)
    scores = torch.randint(4, (50, 9)).float()
    target = torch.randint(9, (50,))
    for row, item, rank in zip(scores, target, mean_rank(scores, target), strict=True):
        places = [
            place for place, value in enumerate(row.sort(descending=True).values, 1) if value == row[item]
        ]
        assert rank == sum(places) / len(places)


def test_constant_scores_give_the_middle_and_numbers_that_are_none_the_end() -> None:
    assert mean_rank(torch.zeros(1, 9), torch.tensor([4])).item() == 5
    bad = torch.tensor([[1.0, torch.nan, 2.0]])
    assert mean_rank(bad, torch.tensor([1])).item() == 3
    assert mean_rank(torch.full((1, 9), torch.nan), torch.tensor([1])).item() == 5


@pytest.mark.parametrize("at_once", [1, 30, 10**6])
def test_seen_items_are_out_and_chunks_change_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MAX_SCORES", at_once)
    torch.manual_seed(0)
    states, weight = torch.randn(7, 3), torch.randn(11, 3)
    target = torch.randint(1, 11, (7,))
    seen = torch.randint(0, 11, (7, 4))
    widest = []

    def score(part: torch.Tensor) -> torch.Tensor:
        widest.append(len(part))
        return (part @ weight.T).index_fill(1, torch.tensor([0]), -torch.inf)

    ranks, lists = rank_targets(states, target, seen, score, 5)
    assert max(widest) == max(1, min(7, at_once // 11))
    for b in range(7):
        out = {0, *seen[b].tolist()} - {int(target[b])}
        order = sorted((i for i in range(11) if i not in out), key=lambda i: -float(states[b] @ weight[i]))
        assert ranks[b] == order.index(int(target[b])) + 1
        assert lists[b].tolist() == order[:5]


def test_a_list_is_shorter_where_there_is_too_little() -> None:
    items, _ = top_items(torch.tensor([[-torch.inf, 1.0, -torch.inf, 2.0]]), 9)
    assert items.tolist() == [[3, 1, 0, 0]]
