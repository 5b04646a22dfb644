"""Recall and NDCG of lists, written out."""

import math

import pytest
import torch

from recollect_recsys.metrics.collaborative import ListMetrics, list_scores


def test_recall_and_ndcg_are_the_published_ones() -> None:
    lists = torch.arange(1, 21).repeat(2, 1)
    targets = torch.tensor([[1, 4, 30, 0], [20, 0, 0, 0]])
    recall, ndcg = list_scores(lists, targets)
    best = sum(1 / math.log2(r + 1) for r in (1, 2, 3))
    assert recall.tolist() == pytest.approx([2 / 3, 1.0])
    assert ndcg.tolist() == pytest.approx([(1 + 1 / math.log2(5)) / best, 1 / math.log2(21)])


def test_more_targets_than_places_can_still_be_perfect() -> None:
    lists = torch.arange(1, 21).unsqueeze(0)
    recall, ndcg = list_scores(lists, torch.arange(1, 41).unsqueeze(0))
    assert recall.tolist() == [0.5]
    assert ndcg.tolist() == pytest.approx([1.0])


def test_a_short_list_has_no_hit_where_it_has_ended() -> None:
    recall, _ = list_scores(torch.tensor([[2, 0, 0]]), torch.tensor([[3, 0]]))
    assert recall.tolist() == [0.0]


def test_errors_over_users_and_the_share_of_the_catalogue() -> None:
    metrics = ListMetrics(40)
    lists = torch.arange(1, 21).repeat(3, 1)
    metrics.update(lists[:2], torch.tensor([[1, 0], [40, 39]]), torch.tensor([3, 9]))
    metrics.update(lists[2:], torch.tensor([[1, 40]]), torch.tensor([3]))
    found = metrics.compute()
    assert found["recall@20"].item() == pytest.approx(0.5)
    assert found["recall@20_se"].item() == pytest.approx(0.5 / math.sqrt(3))
    assert found["coverage@20"].item() == pytest.approx(0.5)
    assert metrics.by_length[0].sum() == 3
    with pytest.raises(ValueError, match="without a target"):
        metrics.update(lists[:1], torch.zeros(1, 2, dtype=torch.int64), torch.tensor([1]))
