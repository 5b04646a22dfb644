"""Published splits: fetched, held to their contents, and read with errors that name the line."""

import gzip
from pathlib import Path

import pytest

from recollect.training import DataError
from recollect_recsys.data.gowalla import GowallaData
from recollect_recsys.data.item_lists import read_item_lists
from recollect_recsys.data.lastfm import LastFmData
from recollect_recsys.data.ml_1m_split import MovieLens1mSplit
from recollect_recsys.data.published_split import Part, PublishedSplit, fingerprint


def test_lists_are_read_plain_or_packed(tmp_path: Path) -> None:
    text = "0 3 5\n1\n2 3\n"
    plain, packed = tmp_path / "a.txt", tmp_path / "a.txt.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        events = read_item_lists(path)
        assert list(zip(events.users, events.items, events.lines, strict=True)) == [
            ("0", "3", 1),
            ("0", "5", 1),
            ("2", "3", 3),
        ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no lists of items"),
        ("0\n1\n", "has no lists"),
        ("0 3\n1 -4\n", r"line 2: the item is negative"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_item_lists(path)


def test_other_pairs_than_the_published_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    folder = tmp_path / "gowalla"
    folder.mkdir()
    (folder / "train.txt").write_text("0 3 5\n1 2 4\n")
    (folder / "test.txt").write_text("0 4\n")
    with pytest.raises(DataError, match=r"train.txt does not hold the published pairs"):
        GowallaData().read()
    parts = tuple(Part(n, fingerprint(read_item_lists(folder / n))) for n in ("train.txt", "test.txt"))
    monkeypatch.setattr(GowallaData, "parts", parts)
    (folder / "train.txt").write_text("1 4 2\r\n0 5 3\r\n")  # the same pairs
    assert GowallaData().items == ["2", "3", "4", "5"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("kind", "users", "items", "trained", "tested"),
    [
        (LastFmData, 1880, 4489, 42135, 10533),
        (MovieLens1mSplit, 6022, 3043, 796244, 99455),
        (GowallaData, 29858, 40981, 810128, 217242),
    ],
)
def test_the_published_counts(
    kind: type[PublishedSplit], users: int, items: int, trained: int, tested: int
) -> None:
    data = kind()
    assert (len(data.names), len(data.items)) == (users, items)
    assert data.graph(held_out=True).shape[1] == trained
    test = data.dataset("test")
    assert test is not None
    assert test.target is not None
    assert len(test.target.items) == tested
