"""The filter: its formula written out, its tail, its reasons."""

import pytest
import torch

from recollect_recsys.models.collaborative import CatalogueSizes
from recollect_recsys.models.graph_filter import GraphFilter
from recollect_recsys.types import ClickBatch

ITEMS, USERS = 90, 120
ROWS = (torch.rand(USERS, ITEMS, generator=torch.Generator().manual_seed(0)) < 0.1).double()
ROWS[:, 7] = 0  # an item that nobody has
CLICKS = ROWS.nonzero().T + 1


def batch(rows: torch.Tensor) -> ClickBatch:
    width = int(rows.sum(1).max())
    numbers = torch.arange(1, ITEMS + 1) * rows.long()
    seen = numbers.sort(1, descending=True).values[:, :width]
    nobody = torch.zeros(len(rows), dtype=torch.int64)
    return ClickBatch(nobody, seen, seen[:, :0], nobody)


def make(**arguments: object) -> GraphFilter:
    sizes = CatalogueSizes(ITEMS, USERS, CLICKS.shape[1])
    return GraphFilter(sizes, **arguments).double()  # type: ignore[arg-type]


def expected(rank: int, tail: bool, loss: float = 0.05, a: float = 0.3, c: float = 0.2) -> torch.Tensor:
    du, di = ROWS.sum(1), ROWS.sum(0)
    weight = torch.where(di > 0, di**-0.5, 0)
    scaled = du[:, None].clamp_min(1) ** -a * ROWS * weight
    values, vectors = torch.linalg.eigh(scaled.T @ scaled)
    values, vectors = (values / values[-1]).flip(0).clamp_min(0), vectors.flip(1)
    response = values / (values + loss)
    if rank < ITEMS:
        response[rank:] = values[rank:] * response[rank - 1] / values[rank - 1] if tail else 0
    give, take = torch.where(di > 0, di**-c, 0), torch.where(di > 0, di**c, 0)
    return (ROWS * give) @ (vectors * response) @ vectors.T * take


@pytest.mark.parametrize(("rank", "tail"), [(90, True), (40, True), (40, False)])
def test_the_filter_is_its_formula(rank: int, tail: bool) -> None:
    model = make(rank=rank, loss=0.05, tail=tail, steps=60)
    scores = model.scores(model.precompute(CLICKS), batch(ROWS))[:, 1:]
    torch.testing.assert_close(scores, expected(rank, tail), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [90, 40])
def test_a_score_is_the_sum_of_its_reasons(rank: int) -> None:
    model = make(rank=rank)
    precomputed = model.precompute(CLICKS)
    some = batch(ROWS[:5])
    items = torch.tensor([[3, 80], [3, 4], [9, 2], [1, 3], [88, 89]])
    added = model.attribution(precomputed, some, items)
    assert added.shape == (*items.shape, some.seen.shape[1])
    torch.testing.assert_close(added.sum(2), model.scores(precomputed, some).gather(1, items))


def test_users_do_not_see_each_other_and_nobody_gets_what_most_have() -> None:
    model = make(rank=40)
    precomputed = model.precompute(CLICKS)
    together = model.scores(precomputed, batch(ROWS[:9]))
    alone = model.scores(precomputed, batch(ROWS[4:5]))
    torch.testing.assert_close(together[4:5], alone)
    one = torch.cat([ROWS[4:5], torch.zeros(1, ITEMS)])
    beside, nobody = model.scores(precomputed, batch(one))
    torch.testing.assert_close(beside, alone[0])
    torch.testing.assert_close(nobody[1:], ROWS.sum(0))
    assert not list(p for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("argument", "value"), [("rank", 0), ("loss", 0.0), ("steps", 0)])
def test_bad_arguments_are_named(argument: str, value: float) -> None:
    with pytest.raises(ValueError, match=argument):
        make(**{argument: value})
