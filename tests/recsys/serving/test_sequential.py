"""Serving: first clicks count at once, forgetting leaves no trace, incremental equals from the file."""

import pytest
import torch

from recollect import Concatenation, Fusion, Integration, Parallel, VectorStorage
from recollect_recsys.data.histories import Histories
from recollect_recsys.data.sessions import SessionDataset, last_windows
from recollect_recsys.metrics.ranking import mask_seen
from recollect_recsys.models.gru4rec import GRU4Rec
from recollect_recsys.models.interest_memory import InterestMemory
from recollect_recsys.models.sequential import SessionRecommender
from recollect_recsys.serving.sequential import Recommender

NAMES = [f"i{n}" for n in range(1, 13)]


def recommender(integration: type[Integration] = Concatenation) -> Recommender:
    torch.manual_seed(0)
    memory = InterestMemory(8, VectorStorage(4, 4, slots=5, similarity="dot"))
    model = SessionRecommender(len(NAMES), GRU4Rec(8), memory, integration)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return Recommender(model, NAMES, window=3)


@pytest.mark.parametrize("integration", [Concatenation, Parallel, Fusion])
def test_clicks_one_by_one_give_what_the_whole_history_gives(integration: type[Integration]) -> None:
    service = recommender(integration)
    for length in range(1, 9):
        service.click("u", [NAMES[length - 1]])
        items = torch.arange(1, length + 1)
        lengths = torch.tensor([length])
        whole = Histories(["u"], torch.tensor([0]), lengths, items)
        sessions = SessionDataset(whole, last_windows(torch.tensor([0]), lengths + 1, 3), past=5, seen=True)
        batch = sessions.cut(torch.tensor([0]))
        with torch.no_grad():
            scores = mask_seen(
                service.model.scores(service.model(batch)[:, int(batch.length) - 1]), batch.seen
            )[0]
        found = service.recommend("u", count=4)
        expected = scores.topk(4)
        assert found.items == [NAMES[i - 1] for i in expected.indices.tolist()]
        torch.testing.assert_close(torch.tensor(found.scores), expected.values, atol=1e-5, rtol=1e-5)


def test_each_first_click_changes_the_next_list_at_once() -> None:
    service = recommender()
    lists = [service.recommend("new").scores]
    for name in NAMES[:4]:
        service.click("new", [name])
        found = service.recommend("new")
        assert name not in found.items
        assert found.scores not in lists
        lists.append(found.scores)
        assert found.read is not None
        assert name in {part["item"] for part in found.read}
        assert sum(part["weight"] for part in found.read) == pytest.approx(1, abs=1e-3)


def test_the_memory_of_long_ago_still_counts() -> None:
    """Two users with the same session and other items before it get other lists."""
    service = recommender()
    service.click("a", ["i1", "i2", "i3", "i4", "i5"])
    service.click("b", ["i6", "i7", "i3", "i4", "i5"])
    assert service.recommend("a").scores != service.recommend("b").scores


def test_erase_makes_a_new_user_and_leaves_all_others_bit_identical() -> None:
    service = recommender()
    stranger = service.recommend("never seen")
    service.click("a", NAMES[:6])
    service.click("b", NAMES[4:9])
    before = service.recommend("b")
    service.erase("a")
    assert service.users == ["b"]
    assert service.recommend("a") == stranger
    assert service.recommend("b") == before
    untouched = recommender()
    untouched.click("b", NAMES[4:9])
    assert untouched.recommend("b") == before  # as if a had never been there
    service.click("a", NAMES[2:4])
    fresh = recommender()
    fresh.click("a", NAMES[2:4])
    assert service.recommend("a") == fresh.recommend("a")
    service.erase("nobody")


def test_an_item_again_counts_once_and_an_unknown_one_is_refused_whole() -> None:
    service = recommender()
    service.click("a", ["i1", "i2"])
    before = service.recommend("a")
    service.click("a", ["i1"])
    assert service.recommend("a") == before
    with pytest.raises(KeyError, match="'i99'"):
        service.click("a", ["i5", "i99"])
    assert service.recommend("a") == before


def test_a_list_is_no_longer_than_what_is_left() -> None:
    service = recommender()
    service.click("a", NAMES[:10])
    assert sorted(service.recommend("a", count=50).items) == ["i11", "i12"]
