"""Multi30k: languages and damaged files."""

import pytest

from recollect.training.errors import DataError
from recollect_nlp.data.multi30k import SHA256, Multi30kData


def test_every_language_and_split_has_a_checksum():
    assert len(SHA256) == 9
    assert all(len(checksum) == 64 for checksum in SHA256.values())


def test_source_and_target_must_differ():
    with pytest.raises(ValueError, match="both are 'de'"):
        Multi30kData(source="de", target="de")


def test_a_damaged_file_is_an_error_and_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    (tmp_path / "multi30k").mkdir()
    path = tmp_path / "multi30k" / "train.en.gz"
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"train\.en\.gz"):
        Multi30kData().prepare_data()
    assert path.read_bytes() == b"something else"


@pytest.mark.data
def test_the_published_sizes():
    data = Multi30kData(source="de", target="fr")
    sizes = {split: len(data._pairs(split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 29000, "val": 1014, "test": 1000}
