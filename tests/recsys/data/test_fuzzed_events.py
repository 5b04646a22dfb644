"""Files of interactions under fuzzing: read rightly, or refused with the file's name."""

import contextlib
from typing import Any

import pytest
from hypothesis import strategies as st

from recollect.training import DataError
from recollect_recsys.data.events import read_events

from ...fuzzed_files import IDS, damaged, fuzz, written

HEADERS = {
    "user": ["user", "userId", "user_id:token", "visitorid", "customer_id"],
    "item": ["item", "movieId", "item_id:token", "parent_asin", "product_id"],
    "rating": ["rating", "score", "Rating"],
    "timestamp": ["timestamp", "time", "ts"],
}
CLEAN = IDS.map(lambda name: name.strip(" \t")).filter(
    lambda name: (
        bool(name) and name.lower() not in {"null", "none", "nan"} and not name.lstrip("-").isdecimal()
    )
)


@st.composite
def interactions(draw: Any) -> tuple[list[tuple[str, ...]], list[str], bytes]:
    """Rows of user, item, rating and time; the order of the columns; the file."""
    ids = st.one_of(st.integers(0, 999).map(str), CLEAN.map(lambda name: f"x{name}"))
    rows = draw(
        st.lists(
            st.tuples(
                ids, ids, st.floats(0, 5).map(lambda v: f"{v:.1f}"), st.integers(10**9, 2 * 10**9).map(str)
            ),
            min_size=2,
            max_size=8,
        )
    )
    order = draw(st.permutations(list(HEADERS)))
    names = [draw(st.sampled_from(HEADERS[role])) for role in order]
    places = [list(HEADERS).index(role) for role in order]
    cells = [names, *([row[place] for place in places] for row in rows)]
    return rows, order, draw(written(cells, [",", "\t", ";", "|"]))


@fuzz(interactions())
def test_a_file_with_a_header_is_read_as_it_was_written(folder: pytest.TempPathFactory, example: Any) -> None:
    rows, _, content = example
    path = folder.getbasetemp() / "events.csv"
    path.write_bytes(content)
    events = read_events(path)
    assert events.stamps is not None
    found = zip(events.users, events.items, events.stamps.tolist(), strict=True)
    assert list(found) == [(user, item, float(time)) for user, item, _, time in rows]


@fuzz(interactions().flatmap(lambda example: damaged(example[2])))
def test_damage_is_refused_with_the_file_or_read(folder: pytest.TempPathFactory, content: bytes) -> None:
    path = folder.getbasetemp() / "damaged.csv"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        events = read_events(path)
        assert len(events.users) == len(events.items) == len(events.lines) > 0
        return
    with pytest.raises(DataError, match=r"damaged\.csv"):
        read_events(path)
