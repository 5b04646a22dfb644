"""MovieLens: taken out of the official archive, counted."""

import zipfile
from pathlib import Path

import pytest

from recollect.training import DataError
from recollect.training.download import checksum
from recollect_recsys.data import ml_1m, ml_100k
from recollect_recsys.data.ml_1m import MovieLens1mData
from recollect_recsys.data.ml_100k import MovieLens100kData

RATINGS = "".join(f"1::{item}::5::{item + 10}\n" for item in range(1, 6))


def test_ratings_are_taken_out_of_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    with zipfile.ZipFile(folder / "ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/ratings.dat", RATINGS)
    monkeypatch.setattr(ml_1m, "SHA256", checksum(folder / "ml-1m.zip"))
    monkeypatch.setattr(ml_1m, "RATINGS", 5)
    data = MovieLens1mData()
    data.prepare_data()
    assert (folder / "ratings.dat").read_text() == RATINGS
    assert data.items == ["1", "2", "3", "4", "5"]


def test_a_damaged_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ml-1m.zip").write_bytes(b"half an archive")
    with pytest.raises(DataError, match=r"ml-1m\.zip has sha256"):
        MovieLens1mData().prepare_data()


def test_a_file_that_lacks_ratings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / "u.data").write_text(RATINGS.replace("::", "\t"))
    with pytest.raises(DataError, match="has 5 ratings and not 100000"):
        MovieLens100kData().read()


@pytest.mark.data
def test_the_published_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = MovieLens100kData()
    data.prepare_data()
    assert (len(data.histories.users), len(data.items), len(data.histories.items)) == (943, 1682, 100_000)
    assert ml_100k.RATINGS == 100_000
    assert len(data.dataset("test")) == 943
