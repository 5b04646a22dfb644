"""Figures of ranked targets: by hand, with their standard errors, in parts as in one."""

import math

import pytest
import torch

from recollect_recsys.metrics.sequential import NextItemMetrics

RANKS = [1.0, 2.5, 10.0, 10.5, 20.0, 300.0]


def filled(ranks: list[float]) -> NextItemMetrics:
    metrics = NextItemMetrics(20)
    lists = torch.arange(1, 11).repeat(len(ranks), 1)
    metrics.update(torch.tensor(ranks), lists, torch.arange(len(ranks)))
    return metrics


def test_figures_are_those_of_the_definition() -> None:
    found = filled(RANKS).compute()
    ndcg = [1 / math.log2(1 + rank) if rank <= 10 else 0.0 for rank in RANKS]
    assert found["ndcg@10"] == pytest.approx(sum(ndcg) / 6)
    assert found["hr@10"] == pytest.approx(3 / 6)
    assert found["mrr"] == pytest.approx(sum(1 / rank for rank in RANKS) / 6)
    assert found["recall@20"] == pytest.approx(5 / 6)
    assert found["coverage@10"] == pytest.approx(0.5)
    error = torch.tensor(ndcg).std() / 6**0.5
    assert found["ndcg@10_se"] == pytest.approx(float(error))


def test_parts_give_what_the_whole_gives() -> None:
    whole = filled(RANKS)
    parts = NextItemMetrics(20)
    for rank in RANKS:
        parts.update(torch.tensor([rank]), torch.arange(1, 11).unsqueeze(0), torch.tensor([1]))
    for name, value in whole.compute().items():
        assert parts.compute()[name] == pytest.approx(float(value))


def test_ndcg_is_kept_by_length_of_history() -> None:
    metrics = NextItemMetrics(5)
    metrics.update(
        torch.tensor([1.0, 3.0, 1.0]), torch.zeros(3, 10, dtype=torch.int64), torch.tensor([0, 2, 3])
    )
    assert metrics.by_length[:, :3].tolist() == [[1, 0, 2], [1, 0, 1.5]]


def test_nobody_measured_gives_nothing_and_one_user_no_error() -> None:
    nobody = NextItemMetrics(5)
    none = torch.zeros(0, dtype=torch.int64)
    nobody.update(torch.zeros(0), none.reshape(0, 10), none)
    assert nobody.compute() == {}
    assert filled([4.0]).compute()["mrr_se"] == 0


def test_an_impossible_rank_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        filled([0.0])
    with pytest.raises(ValueError, match="1 or more"):
        filled([math.nan])
