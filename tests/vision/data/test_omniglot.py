"""Omniglot: from a copy or from the official archives, complete or an error, parted as published."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from torchvision.datasets import Omniglot

from recollect.training import DataError
from recollect.training.errors import ArgumentError, DownloadError
from recollect_vision.data import omniglot
from recollect_vision.data.omniglot import BACKGROUND, OmniglotData


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if there were 12 characters of four drawings, in three alphabets, one of them for the test."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.setattr(omniglot, "CHARACTERS", 12)
    monkeypatch.setattr(omniglot, "DRAWERS", 4)
    monkeypatch.setattr(omniglot, "TEST", 3)
    monkeypatch.setattr(omniglot, "BACKGROUND", {"alphabet0", "alphabet1"})


@pytest.fixture
def official(small: None, write_drawings, serve, tmp_path: Path, monkeypatch) -> Path:
    """The two archives, on a server; where they are served from."""
    write_drawings("images_background", alphabets=2)
    write_drawings("images_evaluation", alphabets=3)
    for alphabet in ("alphabet0", "alphabet1"):
        shutil.rmtree(tmp_path / "images_evaluation" / alphabet)
    files = {
        name: Path(shutil.make_archive(str(tmp_path / name), "zip", tmp_path, name)).read_bytes()
        for name in ("images_background", "images_evaluation")
    }
    address = serve({f"{name}.zip": content for name, content in files.items()})
    monkeypatch.setattr(Omniglot, "download_url_prefix", address.rstrip("/"))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(Omniglot, "zips_md5", sums)
    return tmp_path / "served"


def names(characters) -> set[tuple[str, str]]:
    return {(c.alphabet, c.name) for c in characters}


def test_the_copy_is_taken_where_it_is_there(small, write_drawings):
    write_drawings("omniglot/omniglot_resized")
    data = OmniglotData(held_out=2, ways=2)
    data.prepare_data()
    assert [len(part) for part in data.splits] == [7, 2, 3]


def test_the_official_archives_are_fetched_and_hold_the_same(official, write_drawings, tmp_path):
    data = OmniglotData(held_out=2, ways=2)
    data.prepare_data()
    assert (tmp_path / "omniglot" / "images_background.zip").exists()
    fetched = data.splits
    shutil.rmtree(official)  # nothing is fetched twice
    assert names(OmniglotData(held_out=2, ways=2).splits.test) == names(fetched.test)


def test_a_damaged_download_is_refused(official, tmp_path):
    with (official / "images_background.zip").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"images_background.zip has not the md5"):
        OmniglotData().prepare_data()


def test_without_a_network_the_error_says_where_to_put_it(official, tmp_path):
    (official / "images_evaluation.zip").unlink()
    with pytest.raises(DownloadError, match=r"save that address as .*omniglot/images_evaluation.zip"):
        OmniglotData().prepare_data()


def test_a_missing_drawing_is_an_error(small, write_drawings):
    folder = write_drawings("omniglot/omniglot_resized")
    (folder / "alphabet2" / "character01" / "0001_03.png").unlink()
    with pytest.raises(DataError, match="alphabet2/character01 holds 3 drawings where 4"):
        _ = OmniglotData().splits
    shutil.rmtree(folder / "alphabet2" / "character01")
    with pytest.raises(DataError, match="holds 11 characters where 12"):
        _ = OmniglotData().splits


@pytest.mark.parametrize("split", ["random", "alphabet"])
def test_no_character_is_in_two_parts(split, small, write_drawings):
    write_drawings("omniglot/omniglot_resized")
    data = OmniglotData(split=split, held_out=2, held_out_alphabets=1, ways=2)
    parts = [names(part) for part in data.splits]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 12
    assert all(parts)
    other = OmniglotData(split=split, held_out=2, held_out_alphabets=1, ways=2, seed=5)
    assert [names(part) for part in other.splits] == parts  # a training's seed does not move the test


def test_alphabets_are_not_shared_in_the_split_by_alphabet(small, write_drawings):
    write_drawings("omniglot/omniglot_resized")
    data = OmniglotData(split="alphabet", held_out_alphabets=1)
    alphabets = [{c.alphabet for c in part} for part in data.splits]
    assert alphabets[2] == {"alphabet2"}
    assert alphabets[0] | alphabets[1] == {"alphabet0", "alphabet1"}
    with pytest.raises(ArgumentError, match="can be held out to validate"):
        _ = OmniglotData(split="alphabet", held_out_alphabets=2).splits


def test_turned_characters_are_classes_of_their_own(small, write_drawings):
    write_drawings("omniglot/omniglot_resized")
    data = OmniglotData(held_out=2, ways=2)
    classes = data.classes("test")
    assert len(classes) == 4 * 3
    assert torch.equal(classes[3].rot90(-1, (-2, -1)), classes[0])
    upright = OmniglotData(split="alphabet", held_out_alphabets=1)
    assert len(upright.classes("test")) == 4
    assert len(upright.classes("train")) == 4 * 4


def test_lake_learns_from_thirty_alphabets():
    assert len(BACKGROUND) == 30


@pytest.mark.data
def test_the_real_one_is_complete():
    for split, sizes in (("random", [1100, 100, 423]), ("alphabet", None)):
        parts = OmniglotData(split=split).splits
        if sizes is None:
            assert len(parts.train) + len(parts.val) == 964
            assert len({c.alphabet for c in parts.test}) == 20
        else:
            assert [len(part) for part in parts] == sizes


def test_an_unknown_split_is_an_error():
    with pytest.raises(ValueError, match="random"):
        OmniglotData(split="chance")
