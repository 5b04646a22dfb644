"""Histories: order of time, ties, duplicates, unknown items."""

import random

import numpy as np
import pytest

from recollect_recsys.data.events import Events
from recollect_recsys.data.histories import Histories, histories, natural_sort

Row = tuple[str, str, float]


def events(rows: list[Row], stamped: bool = True) -> Events:
    users, items, stamps = zip(*rows, strict=True)
    times = np.array(stamps, dtype=np.float64) if stamped else None
    return Events("test", users, items, times, range(1, len(rows) + 1))


def named(found: Histories, catalogue: list[str]) -> dict[str, list[str]]:
    return {user: [catalogue[i - 1] for i in found.items_of(u)] for u, user in enumerate(found.users)}


def test_each_user_has_their_items_in_order_of_time() -> None:
    rows = [("b", "x", 2.0), ("a", "y", 9.0), ("b", "y", 1.0), ("a", "x", 3.0)]
    assert named(histories(events(rows), ["x", "y"]), ["x", "y"]) == {"a": ["x", "y"], "b": ["y", "x"]}


def test_without_stamps_the_order_of_the_file_is_that_of_time() -> None:
    rows = [("2", "x", 0.0), ("10", "y", 0.0), ("2", "a", 0.0)]
    found = histories(events(rows, stamped=False), ["a", "x", "y"])
    assert named(found, ["a", "x", "y"]) == {"2": ["x", "a"], "10": ["y"]}


def test_the_order_of_the_file_is_of_no_consequence_even_for_equal_stamps() -> None:
    chance = random.Random(0)
    items = [str(i) for i in range(12)]
    rows = [(user, item, float(int(item) // 6)) for user in "abc" for item in items]
    first = named(histories(events(rows), items), items)
    for _ in range(5):
        chance.shuffle(rows)
        assert named(histories(events(rows), items), items) == first
    for order in first.values():  # time comes first
        assert {int(item) for item in order[:6]} == set(range(6))


def test_the_order_of_equal_stamps_tells_nothing_about_items() -> None:
    items = [str(i) for i in range(50)]
    rows = [(str(user), item, 0.0) for user in range(200) for item in items]
    found = histories(events(rows), items).items.reshape(200, 50).double()
    places = found.argsort(1).double().mean(0)
    # Each item's mean place over 200 users is near the middle, within five standard errors.
    assert (places - 24.5).abs().max() < 5 * np.sqrt((50**2 - 1) / 12 / 200)


def test_duplicates_and_repeats_are_counted_and_left_out() -> None:
    rows = [("a", "x", 1.0), ("a", "x", 1.0), ("a", "y", 2.0), ("a", "x", 3.0)]
    once = histories(events(rows), ["x", "y"])
    assert (once.items_of(0), once.duplicates, once.repeats) == ([1, 2], 1, 1)
    kept = histories(events(rows), ["x", "y"], keep_repeats=True)
    assert (kept.items_of(0), kept.duplicates, kept.repeats) == ([1, 2, 1], 1, 0)


def test_unknown_items_are_left_out_with_a_warning_that_names_lines() -> None:
    rows = [("a", "x", 1.0), ("a", "new", 2.0), ("b", "new", 1.0)]
    with pytest.warns(UserWarning, match=r"2 events are left out.*'new' \(line 2\)"):
        found = histories(events(rows), ["x"])
    assert named(found, ["x"]) == {"a": ["x"], "b": []}


def test_ids_are_text_and_numbers_are_ordered_as_such() -> None:
    assert natural_sort(["10", "9", "09"]) == ["09", "9", "10"]
    assert natural_sort(["b", "a", "10"]) == ["10", "a", "b"]
