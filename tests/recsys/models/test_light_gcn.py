"""LightGCN over a memory: its formula, users who hold nothing, gradients."""

import pytest
import torch

from recollect_recsys.models.collaborative import CatalogueSizes
from recollect_recsys.models.light_gcn import LightGCN
from recollect_recsys.types import ClickBatch

ITEMS, USERS = 6, 4
CLICKS = torch.tensor([[1, 1, 1, 2, 2, 3, 4, 4], [1, 2, 3, 2, 4, 5, 1, 5]])
SEEN = torch.tensor([[1, 2, 3], [2, 4, 0], [5, 0, 0], [1, 5, 0]])


def batch(seen: torch.Tensor = SEEN) -> ClickBatch:
    users = torch.zeros(len(seen), dtype=torch.int64)
    return ClickBatch(users, seen, seen[:, :0], users)


def make(**arguments: object) -> LightGCN:
    torch.manual_seed(0)
    sizes = CatalogueSizes(ITEMS, USERS, CLICKS.shape[1])
    return LightGCN(sizes, size=5, std=1.0, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("layers", [1, 3, 5])
def test_scores_are_the_published_formula_with_users_at_zero(layers: int) -> None:
    model = make(layers=layers, temperature=None)
    adjacency = torch.zeros(USERS, ITEMS)
    adjacency[CLICKS[0] - 1, CLICKS[1] - 1] = 1
    whole = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    whole[:USERS, USERS:], whole[USERS:, :USERS] = adjacency, adjacency.T
    scale = whole.sum(1).clamp_min(1).rsqrt()
    whole = whole * scale * scale[:, None]
    e = torch.cat([torch.zeros(USERS, 5), model.item_embedding.weight[1:].detach()])
    total = e
    for _ in range(layers):
        e = whole @ e
        total = total + e
    total = total / (layers + 1)
    isolated = adjacency.sum(0) == 0  # keeps what it holds, layer by layer; nobody is told of it
    expected = (total[:USERS] @ total[USERS:].T)[:, ~isolated]
    scores = model.scores(model.precompute(CLICKS), batch())[:, 1:][:, ~isolated]
    torch.testing.assert_close(scores, expected)


def test_with_a_temperature_scores_are_cosines() -> None:
    plain, cosine = make(temperature=None), make(temperature=0.5)
    users, items = plain.embed(plain.precompute(CLICKS), batch())
    expected = torch.nn.functional.cosine_similarity(users[:, None], items[None, 1:], dim=-1) / 0.5
    torch.testing.assert_close(cosine.scores(cosine.precompute(CLICKS), batch())[:, 1:], expected)


def test_a_score_is_the_sum_of_its_reasons() -> None:
    for temperature in (None, 0.2):
        model = make(temperature=temperature)
        precomputed = model.precompute(CLICKS)
        items = torch.tensor([[4, 5], [1, 5], [1, 2], [2, 6]])
        added = model.attribution(precomputed, batch(), items)
        torch.testing.assert_close(added.sum(2), model.scores(precomputed, batch()).gather(1, items))
        assert bool((added[2, :, 1:] == 0).all()), "padding adds nothing"


def test_a_kept_memory_gives_the_same_and_gradients_reach_every_item_that_was_clicked() -> None:
    model = make()
    graph = model.graph(CLICKS)
    kept, new = model.precompute(graph), model.precompute(CLICKS)
    torch.testing.assert_close(kept.messages, new.messages)
    model.scores(kept, batch()).square().sum().backward()
    gradient = model.item_embedding.weight.grad
    assert gradient is not None
    assert bool((gradient[1:6].abs().sum(1) > 0).all())
    assert all(not parameter.requires_grad for parameter in model.memory.parameters())


def test_the_gradient_is_that_of_finite_differences() -> None:
    model = make(layers=3).double()
    graph = model.graph(CLICKS)

    def loss(start: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            model.item_embedding.weight.copy_(start)
        return model.scores(model.precompute(graph), batch())[:, 1:].square().sum()

    start = model.item_embedding.weight.detach().clone()
    loss(start).backward()
    gradient = model.item_embedding.weight.grad
    assert gradient is not None
    step = torch.zeros_like(start)
    step[2, 3] = 1e-6
    difference = (loss(start + step) - loss(start - step)) / 2e-6
    torch.testing.assert_close(gradient[2, 3], difference.detach(), rtol=1e-5, atol=1e-7)


def test_whoever_has_nothing_gets_what_most_have() -> None:
    model = make()
    scores = model.scores(model.precompute(CLICKS), batch(torch.zeros(2, 0, dtype=torch.int64)))
    assert scores.shape == (2, ITEMS + 1)
    most = torch.bincount(CLICKS[1], minlength=ITEMS + 1)
    torch.testing.assert_close(scores, most.to(scores).expand(2, -1))


@pytest.mark.parametrize(("argument", "value"), [("layers", 2), ("layers", 0), ("temperature", 0.0)])
def test_bad_arguments_are_named(argument: str, value: float) -> None:
    with pytest.raises(ValueError, match=argument):
        make(**{argument: value})
