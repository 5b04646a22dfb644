"""Images become characters, whole and in order, or an error that names the file."""

import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from recollect.training import DataError
from recollect_vision.data.characters import decode, read_archives, read_character_folder


def test_ink_is_white_on_black_whatever_the_file_holds(tmp_path: Path):
    for name, image in {
        "one-bit.png": Image.new("1", (28, 28), 1),
        "colour.png": Image.new("RGB", (28, 28), (255, 255, 255)),
        "large.png": Image.new("L", (105, 105), 255),
    }.items():
        image.paste(0 if image.mode != "RGB" else (0, 0, 0), (0, 0, image.width // 2, image.height))
        image.save(tmp_path / name)
        decoded = decode((tmp_path / name).read_bytes(), 28, name)
        assert decoded.shape == (1, 28, 28)
        assert decoded[0, :, :13].min() == 255
        assert decoded[0, :, 15:].max() == 0


def test_characters_are_sorted_and_their_drawings_too(write_drawings):
    found = read_character_folder(write_drawings(), 28)
    assert [(c.alphabet, c.name) for c in found] == [
        (f"alphabet{a}", f"character{c:02d}") for a in range(3) for c in range(4)
    ]
    assert all(c.images.shape == (4, 1, 28, 28) for c in found)
    first = decode((write_drawings() / "alphabet0/character00/0000_00.png").read_bytes(), 28, "")
    assert torch.equal(found[0].images[0], first)


def test_an_archive_holds_what_its_folder_held(write_drawings, tmp_path: Path):
    folder = write_drawings("images_background")
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "images_background")
    for packed, loose in zip(
        read_archives([Path(archive)], 28), read_character_folder(folder, 28), strict=True
    ):
        assert packed[:2] == loose[:2]
        assert torch.equal(packed.images, loose.images)


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_a_damaged_image_is_named(content: bytes | None, write_drawings):
    folder = write_drawings()
    path = folder / "alphabet1" / "character02" / "0002_01.png"
    path.write_bytes(path.read_bytes()[:-30] if content is None else content)
    with pytest.raises(DataError, match=r"0002_01.png"):
        read_character_folder(folder, 28)


def test_a_damaged_archive_is_named(write_drawings, tmp_path: Path):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"broken.zip"):
        read_archives([tmp_path / "broken.zip"], 28)
    with zipfile.ZipFile(tmp_path / "part.zip", "w") as archive:
        archive.writestr("images/alphabet/character/1.png", b"no image")
    with pytest.raises(DataError, match=r"part.zip: images/alphabet/character/1.png"):
        read_archives([tmp_path / "part.zip"], 28)


def test_images_in_the_wrong_place_are_an_error(write_drawings):
    folder = write_drawings()
    shutil.copy(folder / "alphabet0/character00/0000_00.png", folder / "stray.png")
    with pytest.raises(DataError, match=r"stray.png does not lie in alphabet/character"):
        read_character_folder(folder, 28)
    empty = folder / "alphabet0" / "character00" / "nothing"
    empty.mkdir()
    with pytest.raises(DataError, match="has no images"):
        read_character_folder(empty, 28)
