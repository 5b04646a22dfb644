"""Simulated clicks: the chances are those that clicks are drawn with, and the best list is the best."""

import numpy as np
import pytest

from recollect_recsys.data.simulation import ITEMS, make_preference_model, next_click_probabilities, simulate
from recollect_recsys.data.synthetic import SyntheticData


def test_chances_are_the_shares_of_the_three_kinds() -> None:
    world = make_preference_model(0)
    seen = np.zeros((1, ITEMS), bool)
    last, taste = 7, 3
    seen[0, last] = True
    unseen_taste = [item for item in world.tastes[taste] if item != last]
    following = [item for item in set(world.followers[last]) if item != last]
    (found,) = next_click_probabilities(world, np.array([taste]), np.array([last]), seen)
    by_hand = np.full(ITEMS, 0.15 / (ITEMS - 1))
    by_hand[last] = 0
    by_hand[unseen_taste] += 0.45 / len(unseen_taste)
    by_hand[following] += 0.4 / len(following)
    np.testing.assert_allclose(found, by_hand)
    assert found.sum() == pytest.approx(1)


def test_a_kind_without_an_item_left_gives_way_to_any_item() -> None:
    world = make_preference_model(0)
    seen = np.zeros((1, ITEMS), bool)
    seen[0, world.tastes[5]] = True
    seen[0, world.followers[9]] = True
    seen[0, 9] = True
    (found,) = next_click_probabilities(world, np.array([5]), np.array([9]), seen)
    assert found[~seen[0]] == pytest.approx(1 / (~seen).sum())


def test_the_best_list_hits_as_often_as_is_computed() -> None:
    world, users, clicks = make_preference_model(1), 1500, 8
    simulated = simulate(world, np.full(users, clicks), np.random.default_rng(0))
    assert all(len(set(row)) == clicks for row in simulated.clicks.tolist())  # no item twice
    before = simulated.clicks[:, :-1]
    seen = np.zeros((users, ITEMS), bool)
    np.put_along_axis(seen, before, True, 1)
    best = np.argsort(-next_click_probabilities(world, simulated.taste, before[:, -1], seen), 1)[:, :10]
    hits = (best == simulated.clicks[:, -1:]).any(1).mean()
    expected = simulated.best.sum(1).mean()
    assert abs(hits - expected) < 4 * np.sqrt(expected * (1 - expected) / users)
    assert (np.diff(simulated.best, axis=1) <= 0).all()


def test_the_data_say_what_is_best_and_depend_on_the_seed_alone() -> None:
    data = SyntheticData(count=50, new_users=0.2)
    hit_rate, ndcg = data.best_possible()
    assert 0.3 < ndcg < hit_rate < 1
    assert f"HR@10 {hit_rate:.4f}" in data.notes[0]
    assert SyntheticData(count=50).histories.items.equal(data.histories.items)
    assert not SyntheticData(count=50, seed=1).histories.items.equal(data.histories.items)


def test_lengths_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(ValueError, match="shortest"):
        SyntheticData(shortest=2)
