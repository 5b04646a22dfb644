"""Serving from a graph memory: clicks count at once, forgetting leaves no trace."""

import pytest
import torch

from recollect_recsys.models.collaborative import CatalogueSizes, ClickRecommender
from recollect_recsys.models.graph_filter import GraphFilter
from recollect_recsys.models.light_gcn import LightGCN
from recollect_recsys.serving.collaborative import GraphRecommender
from recollect_recsys.types import ClickBatch

NAMES = [f"i{n}" for n in range(1, 31)]
CLICKS = (torch.rand(40, 30, generator=torch.Generator().manual_seed(1)) < 0.2).nonzero().T + 1
SIZES = CatalogueSizes(30, 40, CLICKS.shape[1])


def light() -> ClickRecommender:
    torch.manual_seed(0)
    return LightGCN(SIZES, size=8, std=1.0)


@pytest.fixture(params=[light, lambda: GraphFilter(SIZES)], ids=["light", "filter"])
def model(request: pytest.FixtureRequest) -> ClickRecommender:
    return request.param()  # type: ignore[no-any-return]


def serve(model: ClickRecommender, **arguments: int) -> GraphRecommender:
    with torch.no_grad():
        return GraphRecommender(model, model.precompute(CLICKS), NAMES, **arguments)


def test_a_newcomer_is_served_as_a_user_of_training_with_the_same_items(model: ClickRecommender) -> None:
    service = serve(model)
    seen = CLICKS[1, CLICKS[0] == 7].unsqueeze(0)
    batch = ClickBatch(torch.tensor([7]), seen, seen[:, :0], torch.tensor([6]))
    with torch.no_grad():
        scores = model.scores(service.precomputed, batch).scatter(1, seen, -torch.inf)
    scores[:, 0] = -torch.inf
    service.click("new", [NAMES[i - 1] for i in seen[0].tolist()])
    found = service.recommend("new", count=5)
    assert found.items == [NAMES[i - 1] for i in scores.topk(5).indices[0].tolist()]


def test_each_first_click_changes_the_next_list_at_once_and_is_named(model: ClickRecommender) -> None:
    service = serve(model)
    lists = [service.recommend("new").scores]
    for name in NAMES[:4]:
        service.click("new", [name])
        found = service.recommend("new")
        assert name not in found.items
        assert found.scores not in lists
        lists.append(found.scores)
        assert found.read is not None
        assert sum(part["weight"] for part in found.read) == pytest.approx(1, abs=1e-3)
    assert {part["item"] for part in found.read} <= set(NAMES[:4])


def test_erase_makes_a_new_user_and_leaves_all_others_bit_identical(model: ClickRecommender) -> None:
    service = serve(model)
    stranger = service.recommend("never seen")
    service.click("a", NAMES[:6])
    service.click("b", NAMES[4:9])
    before = service.recommend("b")
    service.erase("a")
    assert service.users == ["b"]
    assert service.recommend("a") == stranger
    assert service.recommend("b") == before
    untouched = serve(model)
    untouched.click("b", NAMES[4:9])
    assert untouched.recommend("b") == before, "as if a had never been there"
    assert int(service.memory.graph.inspect(service.state)["edges"]) == 5
    service.click("a", NAMES[2:4])
    fresh = serve(model)
    fresh.click("a", NAMES[2:4])
    assert service.recommend("a") == fresh.recommend("a")
    service.erase("nobody")


def test_past_the_room_the_user_held_longest_gives_way(model: ClickRecommender) -> None:
    service = serve(model, max_users=2)
    for user in "abc":
        service.click(user, NAMES[:2])
    assert service.users == ["b", "c"]
    assert service.recommend("b") == service.recommend("c")
    assert service.recommend("a") == service.recommend("nobody")


def test_an_item_again_counts_once_and_an_unknown_one_is_refused_whole(model: ClickRecommender) -> None:
    service = serve(model)
    service.click("a", ["i1", "i2", "i1"])
    before = service.recommend("a")
    service.click("a", ["i1"])
    assert service.recommend("a") == before
    with pytest.raises(KeyError, match="'i99'"):
        service.click("a", ["i5", "i99"])
    assert service.recommend("a") == before
    with pytest.raises(ValueError, match="max_users and max_clicks"):
        serve(model, max_users=0)
