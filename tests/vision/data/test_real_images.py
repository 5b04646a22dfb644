"""Images and folders as people keep them: deep, floating, rotated, huge, damaged; splits by other names."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from PIL import Image

from recollect.training import DataError
from recollect_vision.data.folder import FolderData, split_folders
from recollect_vision.data.image_files import image_files, labelled_files, open_image
from recollect_vision.data.image_set import decode
from recollect_vision.types import ImageSizes

from ...fuzzed_files import fuzz

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def values(path: Path, mode: Any = "L") -> np.ndarray:
    return np.asarray(open_image(path, mode, str(path)))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(path)
    np.testing.assert_array_equal(values(path), RAMP)
    np.testing.assert_array_equal(values(path, "RGB")[..., 1], RAMP)
    assert decode(path, ImageSizes(1, 16, 16)).float().mean() == pytest.approx(127.5)


def test_floats_from_0_to_1_become_eight_bits(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(RAMP.astype(np.float32) / 255).save(path)
    np.testing.assert_array_equal(values(path), RAMP)


@pytest.mark.parametrize("factor", [1.01, -1.0, np.nan, 1e30])
def test_floats_without_a_known_range_are_refused(tmp_path: Path, factor: float) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray((RAMP.astype(np.float32) / 255 * factor).astype(np.float32)).save(path)
    with pytest.raises(
        DataError, match=r"float\.tif is not an image that can be read: its values are floats from"
    ):
        values(path)


def test_integers_without_a_known_range_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.tif"
    Image.fromarray(RAMP.astype(np.int32) * 100_000).save(path)
    with pytest.raises(DataError, match="32-bit integers"):
        values(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_photos_stand_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.zeros((32, 48), dtype=np.uint8)
    upright[:16] = 255  # the top is bright
    upright[:, :8] = 128
    undo = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]
    stored = Image.fromarray(upright).convert("RGB")
    for step in undo:
        stored = stored.transpose(Image.Transpose(step))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{suffix}"
    stored.save(path, exif=exif, quality=100)
    np.testing.assert_allclose(values(path).astype(int), upright, atol=12)


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[:2, :, 3] = 255  # black above, nothing below
    Image.fromarray(pixels, "RGBA").save(tmp_path / "ink.png")
    assert values(tmp_path / "ink.png")[:, 0].tolist() == [0, 0, 255, 255]
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    palette.putpalette([10, 10, 10, 200, 200, 200])
    palette.save(tmp_path / "palette.png", transparency=b"\xff\x00")
    assert values(tmp_path / "palette.png").tolist() == [[10, 255]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_modes_are_converted(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.where(RAMP > 127, 255, 0).astype(np.uint8)).convert("RGB")
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    (image.convert("RGBA").convert("LA") if mode == "LA" else image.convert(mode)).save(path)
    np.testing.assert_allclose(values(path), np.where(RAMP > 127, 255, 0), atol=2)


def test_an_image_of_too_many_pixels_is_named(tmp_path: Path) -> None:
    Image.new("1", (15_000, 15_000)).save(tmp_path / "scan.png")
    with pytest.raises(DataError, match=r"scan\.png has more than 179 megapixels"):
        values(tmp_path / "scan.png")


FORMATS = ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM"]


@st.composite
def damaged_images(draw: Any) -> bytes:
    """An image with some bytes changed or missing."""
    form, chance = draw(st.sampled_from(FORMATS)), draw(st.randoms(use_true_random=False))
    file = io.BytesIO()
    Image.fromarray(RAMP).convert("RGB").save(file, form)
    content = bytearray(file.getvalue())
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    if chance.random() < 0.3:
        del content[chance.randrange(len(content)) :]
    return bytes(content)


@fuzz(damaged_images(), few=100, many=1000 * len(FORMATS))
def test_damage_is_refused_with_the_file_or_read(folder: pytest.TempPathFactory, content: bytes) -> None:
    path = folder.getbasetemp() / "damaged"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert open_image(path, "RGB", str(path)).mode == "RGB"
        return
    with pytest.raises(DataError, match=r"damaged (is not an image|has more than)"):
        open_image(path, "RGB", str(path))


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RAMP).save(folder / name)
    return folder


def images(*folders: str) -> list[str]:
    return [f"{folder}/{name}/{i}.png" for folder in folders for name in ("cat", "dog") for i in range(4)]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", None, "Test"),
        ("train", "validation", "test"),
        ("training_set", "dev", "testing"),
        ("TRAIN", "Valid", "test-set"),
        ("trainset", "val", "testset"),
    ],
)
def test_splits_have_their_usual_names(tmp_path: Path, train: str, val: str | None, test: str) -> None:
    make(tmp_path, *images(*(folder for folder in (train, val, test) if folder)))
    data = FolderData(path=tmp_path, size=16, channels=1)
    assert data.splits.classes == ["cat", "dog"]
    assert len(data.splits.train) == 8
    assert (data.splits.val is None) == (val is None)
    assert data.splits.test is not None


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["val", "test"], "has the split test, val and none to train on"),
        (["train", "Training"], "has two folders for train: Training and train"),
        (["train", "unlabelled"], "has the split train beside unlabelled"),
    ],
)
def test_splits_that_do_not_fit_are_refused(tmp_path: Path, folders: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_folders(make(tmp_path, *images(*folders)))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    make(tmp_path, *[f"{name}/{i}.png" for name in ("bus", "train") for i in range(4)])
    assert FolderData(path=tmp_path, size=16).splits.classes == ["bus", "train"]


def test_what_tools_leave_is_no_class(tmp_path: Path) -> None:
    make(tmp_path, *[f"{name}/{i}.png" for name in ("cat", "dog") for i in range(4)])
    make(tmp_path, ".ipynb_checkpoints/0.png", "__MACOSX/cat/1.png")
    (tmp_path / "cat" / "._0.png").write_bytes(b"no image")
    classes, files, labels = labelled_files(tmp_path)
    assert classes == ["cat", "dog"]
    assert len(files) == len(labels) == 8


def test_links_are_followed_by_training_and_prediction_alike(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "0.png", "1.png")
    make(tmp_path / "set", "cat/0.png", "cat/1.png")
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere")
    assert labelled_files(tmp_path / "set")[0] == ["cat", "dog"]
    assert [path.name for path in image_files(tmp_path / "set")] == ["0.png", "1.png", "0.png", "1.png"]


def test_names_of_classes_are_composed(tmp_path: Path) -> None:
    make(tmp_path, "Bu\u0308cher/0.png", "Hefte/0.png")
    assert labelled_files(tmp_path)[0] == ["B\u00fccher", "Hefte"]
    assert torch.equal(labelled_files(tmp_path)[2], torch.tensor([0, 1]))
